/* SPDX-License-Identifier: MIT */
/*
 * One `direct` fault of the nop handler as a C programmer would write it over the same headers: what the Cython path of
 * src/_core/mm is measured against (benchmarks/test_fault.py). The same loads, stores and atomics in the same order; the
 * run-time knobs that a trial has are looked at here too, since they are part of the path.
 *
 *	fault_direct FAULTS REPEATS	prints the CPU ns of one fault, a line a repeat
 */
#include <stdio.h>

#include "mm/lockdep.h"
#include "sync/arena.h"
#include "sync/refcount.h"
#include "sync/tasks.h"

static struct vm_area_struct *mtree_load(struct mm_struct *mm, uint64_t addr)
{
	struct vma_node *node = (void *)fb_load_u64(&mm->mm_mt, FB_ACQUIRE);

	for (;;) {
		uint64_t head = fb_load_u64((const uint64_t *)node, FB_RELAXED);
		uint32_t nr = (uint32_t)head, i = 0;

		while (i < nr && fb_load_u64(&node->pivot[i], FB_RELAXED) < addr)
			i++;
		if (head >> 32) {
			struct vm_area_struct *vma;

			if (i == nr)
				return NULL;
			vma = (void *)fb_load_u64(&node->slot[i], FB_RELAXED);
			return fb_load_u64(&vma->vm_start, FB_RELAXED) > addr ? NULL : vma;
		}
		node = (void *)fb_load_u64(&node->slot[i == nr ? nr - 1 : i], FB_ACQUIRE);
	}
}

#define VMA_LOCK_OFFSET 0x40000000u

static void vma_refcount_put(struct mm_struct *mm, struct vm_area_struct *vma)
{
	uint32_t left = fb_refcount_sub_return((struct fb_refcount *)&vma->vm_refcnt, 1);

	if (fb_unlikely(left & VMA_LOCK_OFFSET && left <= VMA_LOCK_OFFSET + 1))
		fb_rcuwait_wake(&mm->vma_writer_wait);
}

static bool vma_start_read(struct fb_worker *w, struct mm_struct *mm, struct vm_area_struct *vma)
{
	struct fb_rwsem *sem = NULL;
	uint32_t old;

	if (fb_load_u32(&vma->vm_lock_seq, FB_RELAXED) == fb_load_u32(&mm->mm_lock_seq, FB_RELAXED))
		return false;
	fb_at(w, STEP_VMA_START_READ, vma);
	if (w->t->rules & RULE_REFCOUNT) {
		if (!fb_refcount_inc_not_zero_limited_acquire((struct fb_refcount *)&vma->vm_refcnt, &old,
							      VMA_LOCK_OFFSET - 1))
			return false;
		if (fb_load_ptr((void *const *)&vma->vm_mm, FB_RELAXED) != mm) {
			vma_refcount_put(mm, vma);
			return false;
		}
	} else {
		sem = fb_load_ptr((void *const *)&vma->vm_lock, FB_RELAXED);
		if (!fb_down_read_trylock(sem, w->me))
			return false;
	}
	if (fb_load_u32(&vma->vm_lock_seq, FB_RELAXED) == fb_load_u32(&mm->mm_lock_seq, FB_ACQUIRE)) {
		if (w->t->rules & RULE_REFCOUNT)
			vma_refcount_put(mm, vma);
		else
			fb_up_read(sem, w->me);
		return false;
	}
	return true;
}

static void vma_end_read(struct fb_worker *w, struct vm_area_struct *vma)
{
	fb_at(w, STEP_VMA_END_READ, vma);
	fb_rcu_read_lock(w->me);
	if (w->t->rules & RULE_REFCOUNT)
		vma_refcount_put(fb_load_ptr((void *const *)&vma->vm_mm, FB_RELAXED), vma);
	else
		fb_up_read(fb_load_ptr((void *const *)&vma->vm_lock, FB_RELAXED), w->me);
	fb_rcu_read_unlock(w->me);
}

static struct vm_area_struct *lock_vma_under_rcu(struct fb_worker *w, struct mm_struct *mm, uint64_t addr)
{
	struct vm_area_struct *vma;

	fb_at(w, STEP_LOCK_VMA_UNDER_RCU, mm);
	fb_rcu_read_lock(w->me);
	vma = mtree_load(mm, addr);
	if (vma && !(w->t->rules & RULE_ABORT_FILE && fb_load_ptr((void *const *)&vma->vm_ops, FB_RELAXED)) &&
	    vma_start_read(w, mm, vma)) {
		if ((w->t->rules & RULE_REFCOUNT || !fb_load_u32(&vma->detached, FB_RELAXED)) &&
		    (w->t->rules & RULE_ANON_LATE || fb_load_ptr((void *const *)&vma->vm_ops, FB_RELAXED) ||
		     fb_load_u64(&vma->anon_vma, FB_RELAXED)) &&
		    addr >= fb_load_u64(&vma->vm_start, FB_RELAXED) && addr < fb_load_u64(&vma->vm_end, FB_RELAXED)) {
			fb_rcu_read_unlock(w->me);
			return vma;
		}
		vma_end_read(w, vma);
	}
	fb_rcu_read_unlock(w->me);
	w->c.vma_lock_abort++;
	return NULL;
}

static uint32_t nop_huge_fault(struct vm_fault *vmf, uint32_t order)
{
	return order + PAGE_SHIFT == vmf->w->t->entry_shift ? VM_FAULT_NOPAGE : VM_FAULT_FALLBACK;
}

/* Called from both passes, so not inlined into either. */
static __attribute__((noinline)) uint32_t handle_mm_fault(struct fb_worker *w, struct mm_struct *mm, struct vm_area_struct *vma, uint64_t addr,
				uint32_t flags)
{
	struct vm_fault vmf = { .w = w, .vma = vma, .address = addr, .flags = flags };
	const struct vm_operations_struct *ops;
	uint64_t *pgd, pud;

	vmf.pgoff = fb_load_u64(&vma->vm_pgoff, FB_RELAXED) +
		    ((addr - fb_load_u64(&vma->vm_start, FB_RELAXED)) >> PAGE_SHIFT);
	if (fb_load_u64(&vma->vm_flags, FB_RELAXED) & VM_NOHUGEPAGE)
		return VM_FAULT_FALLBACK;
	ops = fb_load_ptr((void *const *)&vma->vm_ops, FB_RELAXED);
	if (!ops || !ops->dax)
		return VM_FAULT_FALLBACK;
	fb_at(w, STEP_HANDLE_MM_FAULT, vma);
	pgd = ((struct pgtable *)fb_load_u64(&mm->pgd, FB_RELAXED))->entry + ((addr >> PGDIR_SHIFT) & 511);
	pud = fb_load_u64(pgd, FB_ACQUIRE);
	vmf.pud = ((struct pgtable *)(pud & ~(uint64_t)_PAGE_FLAGS))->entry + ((addr >> PUD_SHIFT) & 511);
	vmf.orig_pud = fb_load_u64(vmf.pud, FB_ACQUIRE);
	if (!vmf.orig_pud || vmf.orig_pud & _PAGE_PSE)
		return VM_FAULT_FALLBACK;
	pud = fb_load_u64(vmf.pud, FB_ACQUIRE);
	vmf.pmd = ((struct pgtable *)(pud & ~(uint64_t)_PAGE_FLAGS))->entry + ((addr >> PMD_SHIFT) & 511);
	vmf.orig_pmd = fb_load_u64(vmf.pmd, FB_ACQUIRE);
	if (vmf.orig_pmd)
		return VM_FAULT_FALLBACK;
	ops = fb_load_ptr((void *const *)&vma->vm_ops, FB_RELAXED);
	fb_at(w, STEP_CREATE_HUGE_PMD, vmf.pmd);
	if (!ops || !ops->huge_fault)
		return VM_FAULT_FALLBACK;
	if (w->t->rules & RULE_HUGE_RETRY && vmf.flags & FAULT_FLAG_VMA_LOCK) {
		vma_end_read(w, vma);
		return VM_FAULT_RETRY;
	}
	w->c.huge_fault_calls++;
	w->c.calls_pmd++;
	if (vmf.flags & FAULT_FLAG_VMA_LOCK)
		w->c.calls_under_vma++;
	else
		w->c.calls_under_mmap++;
	return ops->huge_fault(&vmf, PMD_ORDER);
}

static bool fault_done(struct fb_worker *w, uint32_t fault)
{
	if (fault & VM_FAULT_ERROR)
		return false;
	w->c.faults++;
	return true;
}

/* Not inlined, as the trial's own is not: it has two callers. */
static __attribute__((noinline)) bool do_user_addr_fault(struct fb_worker *w, struct mm_struct *mm, uint64_t addr,
							 bool write)
{
	uint32_t flags = FAULT_FLAG_DEFAULT | FAULT_FLAG_USER, fault;
	struct vm_area_struct *vma;

	w->outcome = OUTCOME_DIRECT;
	if (w->t->rules & RULE_PREFETCHW)
		fb_prefetchw(&mm->mmap_lock);
	fb_at(w, STEP_EXC_PAGE_FAULT, mm);
	if (write)
		flags |= FAULT_FLAG_WRITE;
	if (w->t->rules & RULE_VMA_LOCK && (vma = lock_vma_under_rcu(w, mm, addr))) {
		fault = handle_mm_fault(w, mm, vma, addr, flags | FAULT_FLAG_VMA_LOCK);
		if (!(fault & (VM_FAULT_RETRY | VM_FAULT_COMPLETED)))
			vma_end_read(w, vma);
		if (!(fault & VM_FAULT_RETRY)) {
			w->c.vma_lock_success++;
			return fault_done(w, fault);
		}
		w->c.vma_lock_retry++;
		w->outcome = OUTCOME_RETRIED;
	}
	for (;;) {
		fb_at(w, STEP_LOCK_MM_AND_FIND_VMA, mm);
		if (!fb_any_down_read_trylock(&mm->mmap_lock, (int)w->t->rwsem, w->me))
			fb_any_down_read(&mm->mmap_lock, (int)w->t->rwsem, w->me);
		w->c.mmap_lock_reads++;
		fb_at(w, STEP_FIND_VMA, mm);
		vma = mtree_load(mm, addr);
		fault = vma ? handle_mm_fault(w, mm, vma, addr, flags) : VM_FAULT_SIGSEGV;
		if (fault & VM_FAULT_RETRY) {
			flags |= FAULT_FLAG_TRIED;
			continue;
		}
		fb_at(w, STEP_MMAP_READ_UNLOCK, mm);
		fb_any_up_read(&mm->mmap_lock, (int)w->t->rwsem, w->me);
		return fault_done(w, fault);
	}
}

/* ---- set-up: one mm, one VMA, its tables down to the PMD; none of it is measured ---- */

static const struct vm_operations_struct nop_ops = { .huge_fault = nop_huge_fault, .dax = 1 };
static struct fb_trial trial = { .rules = RULE_VMA_LOCK | RULE_PREFETCHW, .vm_ops = &nop_ops, .entry_shift = PMD_SHIFT };
static struct fb_worker worker;
static uint64_t faults;

static void run(struct fb_task *me)
{
	struct fb_worker *w = me->arg;
	uint64_t i = 0, until = w->c.faults + faults;

	fb_rcu_online(me);
	w->cpu_start = fb_cpu_ns();
	while (fb_window(me) == FB_WINDOW_OPEN && w->c.faults < until) {
		if (!do_user_addr_fault(w, w->mm, w->base + (i << w->t->entry_shift), true))
			abort();
		if (++i == w->entries)
			i = 0;
	}
	w->cpu_end = fb_cpu_ns();
	fb_rcu_offline(me);
}

int main(int argc, char **argv)
{
	struct fb_arena a;
	struct fb_run r = { .nr = 1, .nr_workers = 1, .fn = run };
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	struct vma_node *node;
	struct pgtable *t[3];
	uint64_t start = FB_MAP_BASE;

	if (argc != 3 || fb_arena_init(&a, 4 << 20) || !(r.tasks = fb_tasks_create(&a, 1)))
		return 2;
	faults = strtoull(argv[1], NULL, 10);
	mm = fb_arena_alloc(&a, FB_MM_SIZE, 128);
	vma = fb_arena_alloc(&a, sizeof(*vma), 64);
	node = fb_arena_alloc(&a, sizeof(*node), 256);
	for (int i = 0; i < 3; i++)
		t[i] = fb_arena_alloc(&a, 4096, 4096);
	fb_any_init(&mm->mmap_lock, FB_RWSEM_KERNEL);
	mm->mm_mt = (uintptr_t)node;
	mm->pgd = (uintptr_t)t[0];
	t[0]->entry[(start >> PGDIR_SHIFT) & 511] = (uintptr_t)t[1] | _PAGE_PRESENT | _PAGE_RW;
	t[1]->entry[(start >> PUD_SHIFT) & 511] = (uintptr_t)t[2] | _PAGE_PRESENT | _PAGE_RW;
	*vma = (struct vm_area_struct){ .vm_start = start, .vm_end = start + (1 << PUD_SHIFT), .vm_mm = mm,
					.vm_flags = VM_READ | VM_WRITE | VM_SHARED, .vm_lock = &vma->inline_lock,
					.vm_lock_seq = UINT32_MAX, .vm_ops = &nop_ops };
	vma->vm_lock = fb_arena_alloc(&a, sizeof(struct fb_rwsem), 64);
	fb_rwsem_init(vma->vm_lock);
	node->pivot[0] = vma->vm_end - 1;
	node->slot[0] = (uintptr_t)vma;
	*(uint64_t *)node = 1 | 1ull << 32;
	worker.t = &trial;
	worker.me = r.tasks;
	worker.mm = mm;
	worker.base = start;
	worker.entries = 512;
	r.tasks[0].arg = &worker;
	for (int i = atoi(argv[2]); i > 0; i--) {
		if (fb_machine_run(&r))
			return 1;
		printf("%.4f\n", (double)(worker.cpu_end - worker.cpu_start) / (double)faults);
	}
	return 0;
}
