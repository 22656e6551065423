/* SPDX-License-Identifier: MIT */
/* The names behind the codes, from the same lists that make the codes. */
#ifndef FB_MM_NAMES_H
#define FB_MM_NAMES_H

#include "mm/lockdep.h"

#define FB_NAMES(function, LIST, PICK)				\
	static inline const char *const *function(void)		\
	{							\
		static const char *const names[] = { LIST(PICK) };	\
		return names;					\
	}
#define FB_PICK_CODE(code, name) #code,
#define FB_PICK_NAME(code, name) name,
#define FB_PICK_ONLY(code) #code,

FB_NAMES(fb_step_codes, FB_STEPS, FB_PICK_CODE)
FB_NAMES(fb_step_names, FB_STEPS, FB_PICK_NAME)
FB_NAMES(fb_lock_names, FB_LOCK_CLASSES, FB_PICK_NAME)
FB_NAMES(fb_mutant_codes, FB_MUTANTS, FB_PICK_CODE)
FB_NAMES(fb_counter_names, FB_COUNTERS, FB_PICK_ONLY)

static inline int fb_counter_count(void) { return (int)(sizeof(struct fb_counters) / sizeof(uint64_t)); }

#endif
