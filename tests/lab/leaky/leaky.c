// SPDX-License-Identifier: GPL-2.0-only
/*
 * leaky - a driver with the bug that porting.rst invites: it answers
 * VM_FAULT_RETRY under the VMA lock and does not let go of that lock.
 *
 * For tests of the laboratory only.  With leak=0 it does what it should.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pfn_t.h>

static bool leak = true;
module_param(leak, bool, 0644);

static struct page *chunk;

static noinline vm_fault_t leaky_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	if (vmf->flags & FAULT_FLAG_VMA_LOCK) {
		if (!leak)
			vma_end_read(vmf->vma);
		return VM_FAULT_RETRY;
	}
	if (order != PMD_ORDER || (vmf->address & PMD_MASK) + PMD_SIZE > vmf->vma->vm_end ||
	    (vmf->address & PMD_MASK) < vmf->vma->vm_start)
		return VM_FAULT_FALLBACK;
	return vmf_insert_pfn_pmd(vmf, pfn_to_pfn_t(page_to_pfn(chunk)),
				  vmf->flags & FAULT_FLAG_WRITE);
}

static vm_fault_t leaky_fault(struct vm_fault *vmf)
{
	return vmf_insert_mixed(vmf->vma, vmf->address, pfn_to_pfn_t(page_to_pfn(chunk)));
}

static const struct vm_operations_struct leaky_vm_ops = {
	.fault		= leaky_fault,
	.huge_fault	= leaky_huge_fault,
};

static int leaky_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	vm_flags_set(vma, VM_MIXEDMAP | VM_DONTEXPAND | VM_DONTDUMP | VM_HUGEPAGE);
	vma->vm_ops = &leaky_vm_ops;
	return 0;
}

static const struct file_operations leaky_fops = {
	.owner	= THIS_MODULE,
	.mmap	= leaky_mmap,
};

static struct miscdevice leaky_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "leaky",
	.fops	= &leaky_fops,
};

static int __init leaky_init(void)
{
	int err;

	chunk = alloc_pages(GFP_KERNEL | __GFP_ZERO | __GFP_COMP, PMD_ORDER);
	if (!chunk)
		return -ENOMEM;
	err = misc_register(&leaky_misc);
	if (err)
		__free_pages(chunk, PMD_ORDER);
	return err;
}

static void __exit leaky_exit(void)
{
	misc_deregister(&leaky_misc);
	__free_pages(chunk, PMD_ORDER);
}

module_init(leaky_init);
module_exit(leaky_exit);
MODULE_DESCRIPTION("Answers RETRY and keeps the VMA lock: a test fixture");
MODULE_LICENSE("GPL");
