// SPDX-License-Identifier: GPL-2.0-only
/*
 * faultbench_dev - a device whose faults are huge, under the lock of your
 * choice.
 *
 * /dev/faultbench can be mapped shared; faults on such a mapping reach
 * ->huge_fault().  The "retry" parameter decides what happens when the core
 * calls it holding only the VMA's own lock:
 *
 *   retry=0  install the huge entry there and then;
 *   retry=1  let go of the VMA lock and answer VM_FAULT_RETRY, which makes the
 *            architecture's handler come back with mmap_lock held for reading.
 *
 * All else is equal, so what differs between the two is the detour.
 *
 * Every 2 MiB of a mapping shows the same backing chunk: nothing is allocated
 * or cleared in a fault, only page tables change.  With pud_phys=, 1 GiB
 * entries are served too.
 *
 * "counts" reads as "name value" pairs; writing to it sets them to zero.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/version.h>
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 17, 0)
#include <linux/pfn_t.h>
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
#error "before 6.7 ->huge_fault() of a mapping that is not DAX is never called"
#endif
#ifndef CONFIG_PER_VMA_LOCK
#error "this kernel has no per-VMA locks: nothing to compare"
#endif

static bool retry;
module_param(retry, bool, 0644);
MODULE_PARM_DESC(retry, "0: serve under the VMA lock; 1: ask to be called under mmap_lock");

static unsigned long pud_phys;
module_param(pud_phys, ulong, 0444);
MODULE_PARM_DESC(pud_phys, "1 GiB aligned reserved memory (memmap=1G$...): serve PUDs too");

enum fbd_count {
	FBD_CALLS_PMD,
	FBD_CALLS_PUD,
	FBD_UNDER_VMA,		/* calls with the VMA lock only */
	FBD_UNDER_MMAP,		/* calls with mmap_lock */
	FBD_RETRIES,		/* of those under the VMA lock: sent back */
	FBD_FALLBACKS,		/* of PMD offers */
	FBD_FALLBACKS_PUD,
	FBD_PMD_INSTALLS,	/* or upgrades to writable */
	FBD_PUD_INSTALLS,
	FBD_CALLS_PTE,		/* ->fault(), where a huge one was declined */
	FBD_NR
};

static const char *const fbd_name[FBD_NR] = {
	"calls_pmd", "calls_pud", "calls_under_vma", "calls_under_mmap",
	"retries", "fallbacks", "fallbacks_pud", "pmd_installs", "pud_installs", "calls_pte",
};

struct fbd_counts {
	u64 v[FBD_NR];
};

static DEFINE_PER_CPU(struct fbd_counts, fbd_counts);

static inline void fbd_inc(enum fbd_count c)
{
	this_cpu_inc(fbd_counts.v[c]);
}

static struct page *chunk;		/* the 2 MiB behind every entry */

static bool fbd_fits(struct vm_fault *vmf, unsigned long size)
{
	unsigned long start = vmf->address & ~(size - 1);

	return start >= vmf->vma->vm_start && start + size <= vmf->vma->vm_end;
}

static vm_fault_t fbd_insert_pmd(struct vm_fault *vmf, bool write)
{
	unsigned long pfn = page_to_pfn(chunk);

	fbd_inc(FBD_PMD_INSTALLS);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 17, 0)
	return vmf_insert_pfn_pmd(vmf, pfn, write);
#else
	return vmf_insert_pfn_pmd(vmf, pfn_to_pfn_t(pfn), write);
#endif
}

static vm_fault_t fbd_insert_pud(struct vm_fault *vmf, bool write)
{
#ifdef CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD
	fbd_inc(FBD_PUD_INSTALLS);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 17, 0)
	return vmf_insert_pfn_pud(vmf, PHYS_PFN(pud_phys), write);
#else
	return vmf_insert_pfn_pud(vmf, phys_to_pfn_t(pud_phys, PFN_DEV), write);
#endif
#else
	return VM_FAULT_FALLBACK;
#endif
}

static noinline vm_fault_t fbd_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	bool write = vmf->flags & FAULT_FLAG_WRITE;

	fbd_inc(order == PMD_ORDER ? FBD_CALLS_PMD : FBD_CALLS_PUD);
	if (!(vmf->flags & FAULT_FLAG_VMA_LOCK)) {
		fbd_inc(FBD_UNDER_MMAP);
	} else {
		fbd_inc(FBD_UNDER_VMA);
		if (READ_ONCE(retry)) {
			fbd_inc(FBD_RETRIES);
			/* RETRY says that the lock is gone: whoever says it lets go */
			vma_end_read(vmf->vma);
			return VM_FAULT_RETRY;
		}
	}
	if (order == PMD_ORDER && fbd_fits(vmf, PMD_SIZE))
		return fbd_insert_pmd(vmf, write);
	if (order == PUD_ORDER && pud_phys && fbd_fits(vmf, PUD_SIZE))
		return fbd_insert_pud(vmf, write);
	fbd_inc(order == PMD_ORDER ? FBD_FALLBACKS : FBD_FALLBACKS_PUD);
	return VM_FAULT_FALLBACK;
}

static vm_fault_t fbd_fault(struct vm_fault *vmf)
{
	unsigned long pfn = page_to_pfn(chunk) + (vmf->address >> PAGE_SHIFT) % PTRS_PER_PTE;

	fbd_inc(FBD_CALLS_PTE);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 17, 0)
	return vmf_insert_mixed(vmf->vma, vmf->address, pfn);
#else
	return vmf_insert_mixed(vmf->vma, vmf->address, pfn_to_pfn_t(pfn));
#endif
}

/* Its presence makes the core map read faults read-only, as DAX does. */
static vm_fault_t fbd_pfn_mkwrite(struct vm_fault *vmf)
{
	return 0;
}

static const struct vm_operations_struct fbd_vm_ops = {
	.fault		= fbd_fault,
	.huge_fault	= fbd_huge_fault,
	.pfn_mkwrite	= fbd_pfn_mkwrite,
};

static int fbd_mmap(struct file *file, struct vm_area_struct *vma)
{
	/* Not VM_SHARED, which a descriptor that cannot write has not: as dev_dax does. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	/* MIXEDMAP, not PFNMAP: huge entries are allowed in both, MADV_DONTNEED here only. */
	vm_flags_set(vma, VM_MIXEDMAP | VM_DONTEXPAND | VM_DONTDUMP | VM_HUGEPAGE);
	vma->vm_ops = &fbd_vm_ops;
	return 0;
}

static int counts_get(char *buf, const struct kernel_param *kp)
{
	int at = 0, c, cpu;

	for (c = 0; c < FBD_NR; c++) {
		u64 sum = 0;

		for_each_possible_cpu(cpu)
			sum += per_cpu(fbd_counts, cpu).v[c];
		at += sysfs_emit_at(buf, at, "%s %llu\n", fbd_name[c], sum);
	}
	return at;
}

static int counts_set(const char *val, const struct kernel_param *kp)
{
	int cpu;

	for_each_possible_cpu(cpu)
		memset(per_cpu_ptr(&fbd_counts, cpu), 0, sizeof(struct fbd_counts));
	return 0;
}

static const struct kernel_param_ops counts_ops = {
	.get = counts_get,
	.set = counts_set,
};
module_param_cb(counts, &counts_ops, NULL, 0644);

static const struct file_operations fbd_fops = {
	.owner	= THIS_MODULE,
	.mmap	= fbd_mmap,
};

static struct miscdevice fbd_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "faultbench",
	.fops	= &fbd_fops,
};

static int __init fbd_init(void)
{
	int err;

	if (pud_phys & (PUD_SIZE - 1))
		return -EINVAL;
	chunk = alloc_pages(GFP_KERNEL | __GFP_ZERO | __GFP_COMP, PMD_ORDER);
	if (!chunk)
		return -ENOMEM;
	err = misc_register(&fbd_misc);
	if (err)
		__free_pages(chunk, PMD_ORDER);
	return err;
}

static void __exit fbd_exit(void)
{
	misc_deregister(&fbd_misc);
	__free_pages(chunk, PMD_ORDER);
}

module_init(fbd_init);
module_exit(fbd_exit);
MODULE_DESCRIPTION("Huge faults under the VMA lock or, by way of RETRY, under mmap_lock");
MODULE_LICENSE("GPL");
MODULE_VERSION("1");	/* faultbench/machines/switch.py asks for it */
