/* SPDX-License-Identifier: MIT */
/*
 * machine/fibers.c alone: fibers in a ring, each with its own values in every register that a callee must keep, hand
 * the CPU on and look at those registers when it comes back. Exit 0 and "ok SWITCHES", or what was lost.
 *
 * The registers are set and read by hand around the switch: a compiler would spill whatever it is told to keep.
 */
#include "machine/fibers.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIBERS = 7, TURNS = 1000 };

static struct fb_fiber home, fiber[FIBERS];
static int started, ended, failures;
static unsigned long switches;

#if defined(FB_FIBER_UCONTEXT)

/* No switch of ours to look at: what the compiler keeps, and the stack. */
static void hop(int from, int to, uint64_t seed)
{
	volatile uint64_t mine = seed;

	fb_fiber_switch(&fiber[from], &fiber[to]);
	if (mine != seed)
		failures++;
}

#elif defined(__x86_64__)

enum { WORDS = 6 };	/* rbx rbp r12-r15 */
void hop_by_hand(uint64_t *values, void **save, void *load);
__asm__(".text\n"
	"hop_by_hand:\n"
	"	pushq %rbx\n	pushq %rbp\n	pushq %r12\n	pushq %r13\n	pushq %r14\n	pushq %r15\n"
	"	pushq %rdi\n"
	"	movq 0(%rdi), %rbx\n	movq 8(%rdi), %rbp\n	movq 16(%rdi), %r12\n"
	"	movq 24(%rdi), %r13\n	movq 32(%rdi), %r14\n	movq 40(%rdi), %r15\n"
	"	movq %rsi, %rdi\n	movq %rdx, %rsi\n"
	"	call fb_fiber_swap\n"
	"	popq %rdi\n"
	"	movq %rbx, 0(%rdi)\n	movq %rbp, 8(%rdi)\n	movq %r12, 16(%rdi)\n"
	"	movq %r13, 24(%rdi)\n	movq %r14, 32(%rdi)\n	movq %r15, 40(%rdi)\n"
	"	popq %r15\n	popq %r14\n	popq %r13\n	popq %r12\n	popq %rbp\n	popq %rbx\n"
	"	ret\n");

#elif defined(__aarch64__)

enum { WORDS = 19 };	/* x19-x29, d8-d15 */
void hop_by_hand(uint64_t *values, void **save, void *load);
__asm__(".text\n"
	"hop_by_hand:\n"
	"	sub sp, sp, #176\n"
	"	stp x19, x20, [sp, #0]\n	stp x21, x22, [sp, #16]\n	stp x23, x24, [sp, #32]\n"
	"	stp x25, x26, [sp, #48]\n	stp x27, x28, [sp, #64]\n	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n	stp d10, d11, [sp, #112]\n	stp d12, d13, [sp, #128]\n"
	"	stp d14, d15, [sp, #144]\n	str x0, [sp, #160]\n"
	"	ldp x19, x20, [x0, #0]\n	ldp x21, x22, [x0, #16]\n	ldp x23, x24, [x0, #32]\n"
	"	ldp x25, x26, [x0, #48]\n	ldp x27, x28, [x0, #64]\n	ldr x29, [x0, #80]\n"
	"	ldp d8, d9, [x0, #88]\n	ldp d10, d11, [x0, #104]\n	ldp d12, d13, [x0, #120]\n"
	"	ldp d14, d15, [x0, #136]\n"
	"	mov x0, x1\n	mov x1, x2\n"
	"	bl fb_fiber_swap\n"
	"	ldr x0, [sp, #160]\n"
	"	stp x19, x20, [x0, #0]\n	stp x21, x22, [x0, #16]\n	stp x23, x24, [x0, #32]\n"
	"	stp x25, x26, [x0, #48]\n	stp x27, x28, [x0, #64]\n	str x29, [x0, #80]\n"
	"	stp d8, d9, [x0, #88]\n	stp d10, d11, [x0, #104]\n	stp d12, d13, [x0, #120]\n"
	"	stp d14, d15, [x0, #136]\n"
	"	ldp x19, x20, [sp, #0]\n	ldp x21, x22, [sp, #16]\n	ldp x23, x24, [sp, #32]\n"
	"	ldp x25, x26, [sp, #48]\n	ldp x27, x28, [sp, #64]\n	ldp x29, x30, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n	ldp d10, d11, [sp, #112]\n	ldp d12, d13, [sp, #128]\n"
	"	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #176\n"
	"	ret\n");

#endif

#if !defined(FB_FIBER_UCONTEXT)
static void hop(int from, int to, uint64_t seed)
{
	uint64_t values[WORDS], before[WORDS];

	for (int i = 0; i < WORDS; i++)
		before[i] = values[i] = (seed + (uint64_t)i) * 0x9e3779b97f4a7c15u;
	hop_by_hand(values, &fiber[from].sp, fiber[to].sp);
	for (int i = 0; i < WORDS; i++)
		if (values[i] != before[i]) {
			printf("fiber %d: callee-saved register %d changed\n", from, i);
			failures++;
		}
}
#endif

/* The ABI's alignment holds in a fiber's first frame and below; what is on the stack stays. */
static void entry(void)
{
	_Alignas(16) char mine[48];
	int me = started++;
	char want[sizeof(mine)];
	double sum = 0;

	if ((uintptr_t)mine % 16 || (uintptr_t)__builtin_frame_address(0) % 16) {
		printf("fiber %d: its stack is not aligned\n", me);
		failures++;
	}
	memset(mine, 'a' + me, sizeof(mine));
	memset(want, 'a' + me, sizeof(want));
	for (int turn = 0; turn < TURNS; turn++) {
		sum += me + 0.5;
		hop(me, (me + 1) % FIBERS, (uint64_t)(me * TURNS + turn));
		switches++;
		if (memcmp(mine, want, sizeof(mine)) || sum != (turn + 1) * (me + 0.5)) {
			printf("fiber %d: its stack or its sum changed\n", me);
			failures++;
		}
	}
	ended++;
	if (me + 1 < FIBERS)	/* all arrive here in the same turn: hand on, the last goes home */
		fb_fiber_switch(&fiber[me], &fiber[me + 1]);
	fb_fiber_switch(&fiber[me], &home);
	abort();
}

int main(void)
{
	for (int i = 0; i < FIBERS; i++)
		if (fb_fiber_create(&fiber[i], entry))
			return 2;
	fb_fiber_switch(&home, &fiber[0]);
	for (int i = 0; i < FIBERS; i++)
		fb_fiber_destroy(&fiber[i]);
	if (failures || started != FIBERS || ended != FIBERS)
		return 1;
	printf("ok %lu\n", switches);
	return 0;
}
