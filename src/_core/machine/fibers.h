/* SPDX-License-Identifier: MIT */
/*
 * Fibers: stacks that hand the host CPU to each other, one per virtual CPU.
 *
 *	fb_fiber_create ──► a stack with a guard page below it, and a context that starts in `entry`
 *	fb_fiber_switch ──► save the callee-saved registers, take the other's; about 2 ns on x86-64 and aarch64
 *
 * Elsewhere ucontext does the same with two system calls a switch. No floating-point environment is switched: nothing
 * on a fiber changes it. A fiber runs no Python and takes no signal.
 */
#ifndef FB_MACHINE_FIBERS_H
#define FB_MACHINE_FIBERS_H

#include <stddef.h>

#if !defined(FB_FIBER_UCONTEXT) && !defined(__x86_64__) && !defined(__aarch64__)
#define FB_FIBER_UCONTEXT 1
#endif

#ifdef FB_FIBER_UCONTEXT
#include <ucontext.h>
#endif

enum { FB_FIBER_STACK = 64 << 10 };

struct fb_fiber {
	void *sp;		/* where it goes on; unused with ucontext */
	void *map;		/* guard page and stack; NULL for the thread that runs the fibers */
#ifdef FB_FIBER_UCONTEXT
	ucontext_t context;
#endif
};

/* Returns 0 or an errno. `entry` never returns. */
int fb_fiber_create(struct fb_fiber *f, void (*entry)(void));
void fb_fiber_destroy(struct fb_fiber *f);

#ifdef FB_FIBER_UCONTEXT
static inline void fb_fiber_switch(struct fb_fiber *from, const struct fb_fiber *to)
{
	swapcontext(&from->context, &to->context);
}
#else
__attribute__((visibility("hidden"))) void fb_fiber_swap(void **save, void *load);

static inline void fb_fiber_switch(struct fb_fiber *from, const struct fb_fiber *to)
{
	fb_fiber_swap(&from->sp, to->sp);
}
#endif

#endif
