/* SPDX-License-Identifier: MIT */
/* See fibers.h. */
#include "machine/fibers.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* clang-format off */
#if defined(FB_FIBER_UCONTEXT)
/* swapcontext */
#elif defined(__x86_64__)
/* System V: rbx, rbp, r12-r15 belong to the caller. The return address is already on the stack. */
__asm__(
	".text\n"
	".p2align 4\n"
	".globl fb_fiber_swap\n"
	".hidden fb_fiber_swap\n"
	".type fb_fiber_swap, @function\n"
	"fb_fiber_swap:\n"
	"	.cfi_startproc\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	retq\n"
	"	.cfi_endproc\n"
	".size fb_fiber_swap, .-fb_fiber_swap\n");
enum { FRAME_WORDS = 8, FRAME_ENTRY = 6 };	/* six registers, the entry, and a null return address for it */
#elif defined(__aarch64__)
/* AAPCS64: x19-x30 and the low halves of v8-v15. */
__asm__(
	".text\n"
	".p2align 4\n"
	".globl fb_fiber_swap\n"
	".hidden fb_fiber_swap\n"
	".type fb_fiber_swap, %function\n"
	"fb_fiber_swap:\n"
	"	sub sp, sp, #160\n"
	"	stp x19, x20, [sp, #0]\n"
	"	stp x21, x22, [sp, #16]\n"
	"	stp x23, x24, [sp, #32]\n"
	"	stp x25, x26, [sp, #48]\n"
	"	stp x27, x28, [sp, #64]\n"
	"	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n"
	"	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n"
	"	stp d14, d15, [sp, #144]\n"
	"	mov x9, sp\n"
	"	str x9, [x0]\n"
	"	mov sp, x1\n"
	"	ldp x19, x20, [sp, #0]\n"
	"	ldp x21, x22, [sp, #16]\n"
	"	ldp x23, x24, [sp, #32]\n"
	"	ldp x25, x26, [sp, #48]\n"
	"	ldp x27, x28, [sp, #64]\n"
	"	ldp x29, x30, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n"
	"	ldp d10, d11, [sp, #112]\n"
	"	ldp d12, d13, [sp, #128]\n"
	"	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #160\n"
	"	ret\n"
	".size fb_fiber_swap, .-fb_fiber_swap\n");
enum { FRAME_WORDS = 20, FRAME_ENTRY = 11 };	/* x30 is the twelfth word */
#endif
/* clang-format on */

#if defined(__linux__) && defined(__ELF__)
__asm__(".section .note.GNU-stack,\"\",%progbits\n.text\n");	/* the assembly above needs no executable stack */
#endif

int fb_fiber_create(struct fb_fiber *f, void (*entry)(void))
{
	size_t guard = (size_t)sysconf(_SC_PAGESIZE);
	char *map = mmap(NULL, guard + FB_FIBER_STACK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED)
		return errno;
	/* The guard stays PROT_NONE: an overflow is a fault here and not a neighbour's broken stack. */
	if (mprotect(map + guard, FB_FIBER_STACK, PROT_READ | PROT_WRITE)) {
		int err = errno;

		munmap(map, guard + FB_FIBER_STACK);
		return err;
	}
	f->map = map;
#ifdef FB_FIBER_UCONTEXT
	if (getcontext(&f->context))
		return errno;
	f->context.uc_stack.ss_sp = map + guard;
	f->context.uc_stack.ss_size = FB_FIBER_STACK;
	f->context.uc_link = NULL;
	makecontext(&f->context, entry, 0);
	f->sp = NULL;
#else
	{
		uintptr_t top = (uintptr_t)(map + guard + FB_FIBER_STACK) & ~(uintptr_t)15;
		uint64_t *frame = (uint64_t *)top - FRAME_WORDS;

		for (int i = 0; i < FRAME_WORDS; i++)
			frame[i] = 0;
		frame[FRAME_ENTRY] = (uint64_t)(uintptr_t)entry;
		f->sp = frame;
	}
#endif
	return 0;
}

void fb_fiber_destroy(struct fb_fiber *f)
{
	size_t guard = (size_t)sysconf(_SC_PAGESIZE);

	if (f->map)
		munmap(f->map, guard + FB_FIBER_STACK);
	f->map = NULL;
}
