/* SPDX-License-Identifier: MIT */
/*
 * A teaching knob: the reader/writer lock that everybody writes first. One word, CAS, no queue. It excludes correctly, is
 * fast when nobody competes, and lets a stream of readers starve a writer for as long as it lasts: a writer needs the word
 * to be 0 at the moment it looks.
 *
 *	word:	bit 0 writer, bits 1-31 readers
 */
#ifndef FB_SYNC_NAIVE_RWSEM_H
#define FB_SYNC_NAIVE_RWSEM_H

#include "sync/atomic.h"
#include "sync/rcu.h"

struct fb_naive_rwsem {
	uint32_t word;
};

FB_INLINE bool fb_naive_down_read_trylock(struct fb_naive_rwsem *s)
{
	uint32_t word = fb_load_u32(&s->word, FB_RELAXED);	/* relaxed: the CAS decides */

	while (!(word & 1)) {
		/* ACQUIRE, pairs with fb_naive_up_write and fb_naive_downgrade_write */
		if (fb_cas_u32(&s->word, &word, word + 2, FB_ACQUIRE))
			return true;
	}
	return false;
}

FB_INLINE bool fb_naive_down_write_trylock(struct fb_naive_rwsem *s)
{
	uint32_t word = 0;

	/* ACQUIRE, pairs with fb_naive_up_write and fb_naive_up_read */
	return fb_cas_u32(&s->word, &word, 1, FB_ACQUIRE);
}

/* True when contended, here and below. */
FB_INLINE bool fb_naive_down_read(struct fb_naive_rwsem *s, struct fb_task *me)
{
	uint64_t began;

	if (fb_likely(fb_naive_down_read_trylock(s)))
		return false;
	began = fb_now();
	me->contended++;
	fb_rcu_offline(me);	/* the writer may wait for a grace period */
	do
		fb_spin_u32(&s->word, 1);
	while (!fb_naive_down_read_trylock(s));
	fb_rcu_online(me);
	me->wait_ns += fb_now() - began;
	return true;
}

FB_INLINE bool fb_naive_down_write(struct fb_naive_rwsem *s, struct fb_task *me)
{
	uint64_t began;

	if (fb_likely(fb_naive_down_write_trylock(s)))
		return false;
	began = fb_now();
	me->contended++;
	fb_rcu_offline(me);
	do {
		uint32_t word = fb_load_u32(&s->word, FB_RELAXED);	/* relaxed: only to wait for its change */

		if (word)
			fb_spin_u32(&s->word, word);
	} while (!fb_naive_down_write_trylock(s));
	fb_rcu_online(me);
	me->wait_ns += fb_now() - began;
	return true;
}

/* RELEASE, all three; pair with the CASes above. */
FB_INLINE void fb_naive_up_read(struct fb_naive_rwsem *s) { fb_fetch_add_u32(&s->word, -2u, FB_RELEASE); }
FB_INLINE void fb_naive_up_write(struct fb_naive_rwsem *s) { fb_fetch_add_u32(&s->word, -1u, FB_RELEASE); }
FB_INLINE void fb_naive_downgrade_write(struct fb_naive_rwsem *s) { fb_fetch_add_u32(&s->word, 1, FB_RELEASE); }

#endif
