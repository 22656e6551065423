// SPDX-License-Identifier: GPL-2.0-only
/*
 * faultbench_ab - put the refused "not under the VMA lock" answer back in
 * front of any ->huge_fault(), on an unmodified kernel, and take it away again
 * at run time.
 *
 * linux-next of August 2023 had, in front of each call of ->huge_fault(), a
 * test for "only the VMA lock is held" that dropped that lock and answered
 * VM_FAULT_RETRY.  This module has a kprobe on the entry of the handler and,
 * with retry=1, does the same there: the handler's body does not run, and the
 * fault comes back under mmap_lock.  With retry=0 the probe stays armed and
 * lets the call through, so both settings pay for it.
 *
 * It also counts calls by order and by lock held, and, with returns=1 (a
 * second probe, on the way out), what the handler answered.  "counts" reads as
 * "name value" pairs; writing to it sets them to zero.
 *
 * Not for PREEMPT_RT: vma_end_read() may sleep there, a kprobe handler may not.
 */
#include <linux/mm.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/percpu.h>

#ifndef CONFIG_PER_VMA_LOCK
#error "this kernel has no per-VMA locks: nothing to send back"
#endif
#ifndef CONFIG_X86_64
#error "leaving a function early is written for x86-64 only"
#endif
#ifdef CONFIG_PREEMPT_RT
#error "vma_end_read() may sleep on PREEMPT_RT, a kprobe handler may not"
#endif

static char *symbol = "ext4_dax_huge_fault";
module_param(symbol, charp, 0444);
MODULE_PARM_DESC(symbol, "the ->huge_fault() handler to stand in front of");

static char *fault = "";
module_param(fault, charp, 0444);
MODULE_PARM_DESC(fault, "its ->fault(), only counted; not needed where that calls the handler");

static bool retry;
module_param(retry, bool, 0644);
MODULE_PARM_DESC(retry, "0: let calls through; 1: send calls under the VMA lock back");

static bool returns;
module_param(returns, bool, 0444);
MODULE_PARM_DESC(returns, "1: count what the handler answered, too");

enum ab_count {
	AB_CALLS_PMD,		/* handler calls: what was sent back is not one */
	AB_CALLS_PUD,
	AB_CALLS_PTE,		/* of ->fault(); ext4's goes by its huge_fault, order 0 */
	AB_UNDER_VMA,		/* of all three */
	AB_UNDER_MMAP,
	AB_BOUNCED,		/* sent back by us */
	AB_FALLBACKS,		/* answers, with returns=1: to a PMD offer */
	AB_FALLBACKS_PUD,
	AB_RETRIES,
	AB_ERRORS,
	AB_NR
};

static const char *const ab_name[AB_NR] = {
	"calls_pmd", "calls_pud", "calls_pte", "calls_under_vma",
	"calls_under_mmap", "bounced", "fallbacks", "fallbacks_pud", "retries", "errors",
};

struct ab_counts {
	u64 v[AB_NR];
};

static DEFINE_PER_CPU(struct ab_counts, ab_counts);

static inline void ab_inc(enum ab_count c)
{
	this_cpu_inc(ab_counts.v[c]);
}

/* Somewhere to go instead of the handler: leaves as if it had returned. */
asm(".pushsection .text, \"ax\"\n"
    ".type faultbench_ab_leave, @function\n"
    "faultbench_ab_leave:\n"
    ANNOTATE_NOENDBR
    ASM_RET
    ".size faultbench_ab_leave, .-faultbench_ab_leave\n"
    ".popsection\n");
void faultbench_ab_leave(void);

static void ab_call(struct vm_fault *vmf, enum ab_count order)
{
	ab_inc(order);
	ab_inc(vmf->flags & FAULT_FLAG_VMA_LOCK ? AB_UNDER_VMA : AB_UNDER_MMAP);
}

static int ab_pre(struct kprobe *kp, struct pt_regs *regs)
{
	struct vm_fault *vmf = (struct vm_fault *)regs_get_kernel_argument(regs, 0);
	unsigned int order = regs_get_kernel_argument(regs, 1);

	/* ->fault() was never part of the check that we put back */
	if (order < PMD_ORDER) {
		ab_call(vmf, AB_CALLS_PTE);
		return 0;
	}
	if (vmf->flags & FAULT_FLAG_VMA_LOCK && READ_ONCE(retry)) {
		ab_inc(AB_BOUNCED);
		/* RETRY says that the lock is gone: whoever says it lets go */
		vma_end_read(vmf->vma);
		regs_set_return_value(regs, VM_FAULT_RETRY);
		instruction_pointer_set(regs, (unsigned long)faultbench_ab_leave);
		return 1;
	}
	ab_call(vmf, order == PMD_ORDER ? AB_CALLS_PMD : AB_CALLS_PUD);
	return 0;
}

static int ab_pre_fault(struct kprobe *kp, struct pt_regs *regs)
{
	ab_call((struct vm_fault *)regs_get_kernel_argument(regs, 0), AB_CALLS_PTE);
	return 0;
}

static int ab_enter(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	*(unsigned int *)ri->data = regs_get_kernel_argument(regs, 1);
	return 0;
}

static int ab_return(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	vm_fault_t answer = regs_return_value(regs);
	unsigned int order = *(unsigned int *)ri->data;

	if (answer & VM_FAULT_FALLBACK && order >= PMD_ORDER)
		ab_inc(order == PMD_ORDER ? AB_FALLBACKS : AB_FALLBACKS_PUD);
	if (answer & VM_FAULT_RETRY)
		ab_inc(AB_RETRIES);
	if (answer & VM_FAULT_ERROR & ~VM_FAULT_FALLBACK)
		ab_inc(AB_ERRORS);
	return 0;
}

static struct kprobe ab_probe = { .pre_handler = ab_pre };
static struct kprobe ab_fault_probe = { .pre_handler = ab_pre_fault };
/* Registered first, so run last: what we send back never counts as an answer. */
static struct kretprobe ab_return_probe = {
	.entry_handler	= ab_enter,
	.handler	= ab_return,
	.data_size	= sizeof(unsigned int),
	.maxactive	= 64,
};

static int counts_get(char *buf, const struct kernel_param *kp)
{
	int at = 0, c, cpu;

	for (c = 0; c < AB_NR; c++) {
		u64 sum = 0;

		if (!returns && c >= AB_FALLBACKS)
			break;
		for_each_possible_cpu(cpu)
			sum += per_cpu(ab_counts, cpu).v[c];
		at += sysfs_emit_at(buf, at, "%s %llu\n", ab_name[c], sum);
	}
	if (returns)
		at += sysfs_emit_at(buf, at, "missed %d\n", ab_return_probe.nmissed);
	return at;
}

static int counts_set(const char *val, const struct kernel_param *kp)
{
	int cpu;

	for_each_possible_cpu(cpu)
		memset(per_cpu_ptr(&ab_counts, cpu), 0, sizeof(struct ab_counts));
	return 0;
}

static const struct kernel_param_ops counts_ops = {
	.get = counts_get,
	.set = counts_set,
};
module_param_cb(counts, &counts_ops, NULL, 0644);

static int __init ab_init(void)
{
	int err;

	ab_probe.symbol_name = symbol;
	ab_return_probe.kp.symbol_name = symbol;
	if (returns) {
		err = register_kretprobe(&ab_return_probe);
		if (err)
			return err;
	}
	err = register_kprobe(&ab_probe);
	if (err)
		goto no_probe;
	if (*fault) {
		ab_fault_probe.symbol_name = fault;
		err = register_kprobe(&ab_fault_probe);
		if (err)
			goto no_fault_probe;
	}
	return 0;

no_fault_probe:
	unregister_kprobe(&ab_probe);
no_probe:
	if (returns)
		unregister_kretprobe(&ab_return_probe);
	return err;
}

static void __exit ab_exit(void)
{
	if (*fault)
		unregister_kprobe(&ab_fault_probe);
	unregister_kprobe(&ab_probe);
	if (returns)
		unregister_kretprobe(&ab_return_probe);
}

module_init(ab_init);
module_exit(ab_exit);
MODULE_DESCRIPTION("A/B of any ->huge_fault(): under the VMA lock, or sent back to mmap_lock");
MODULE_LICENSE("GPL");
MODULE_VERSION("1");	/* faultbench/machines/switch.py asks for it */
