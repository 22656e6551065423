/* SPDX-License-Identifier: MIT */
/*
 * The VMA lock's protocol over the primitives, all generations (kernel-reference §3): V, E, H, Q and the sequences' wrap.
 * A driver for sync/ only; the model's own VMA lock is mm/vma_lock.pxd.
 *
 *	gen 0	rwsem, int sequence (6.4 to 6.12)	1 rwsem, seqcount (6.13)	2 refcount, seqcount (6.15)
 *
 * What a VMA says is plain data: whoever reads it without holding its VMA before a write ends is a race.
 */
#include "sync/refcount.h"
#include "sync/rwsem.h"
#include "sync/rcuwait.h"
#include "sync/seqcount.h"
#include "torture.h"

enum { SLOTS = 4, OFFSET = 0x40000000, LIMIT = OFFSET - 1 };
enum result { OK, ABORT, MISS };

struct vma {
	_Alignas(64) uint32_t vm_lock_seq;
	uint32_t detached;	/* gen 0, 1; written by the write-locker, read by read-lockers */
	uint32_t slot;		/* what it maps; gen 2 re-checks it, for the object may have been reused */
	struct fb_refcount refcnt;
	struct fb_rwsem lock;
};

static struct {
	_Alignas(128) struct fb_rwsem mmap_lock;
	_Alignas(128) struct fb_seqcount seq;
	struct fb_rcuwait writer_wait;
	_Alignas(128) struct vma *slots[SLOTS];
} *mm;
static struct vma *vmas;			/* two for each slot: one mapped or none, the other free */
static struct torture_data data[2 * SLOTS];	/* plain */
static struct torture_inside inside[2 * SLOTS];
static struct {
	uint64_t cookie;			/* under mmap_lock for write */
	bool free;
} life[2 * SLOTS];
static uint32_t gen, hold;

static void setup(const struct torture_args *a)
{
	uint32_t first = (uint32_t)-(2 * a->wrap);

	gen = a->gen;
	hold = a->hold;
	mm = torture_alloc(sizeof(*mm));
	vmas = torture_alloc(2 * SLOTS * sizeof(*vmas));
	fb_rwsem_init(&mm->mmap_lock);
	fb_store_u32(&mm->seq.sequence, first, FB_RELAXED);
	for (uint32_t i = 0; i < 2 * SLOTS; i++) {
		torture_data_init(&data[i]);
		fb_rwsem_init(&vmas[i].lock);
		fb_store_u32(&vmas[i].vm_lock_seq, first - 1, FB_RELAXED);
		fb_store_u32(&vmas[i].slot, i / 2, FB_RELAXED);
		fb_store_u32(&vmas[i].detached, i & 1, FB_RELAXED);
		fb_store_u32(&vmas[i].refcnt.refs, !(i & 1), FB_RELAXED);
		life[i].free = i & 1;
		if (!(i & 1))
			fb_store_ptr((void **)&mm->slots[i / 2], &vmas[i], FB_RELAXED);
	}
}

/* relaxed: under the VMA's lock, or a pre-check */
static uint32_t lock_seq(const struct vma *v) { return fb_load_u32(&v->vm_lock_seq, FB_RELAXED); }

static void put(struct vma *v)
{
	uint32_t left = fb_refcount_sub_return(&v->refcnt, 1);

	if (left >= OFFSET)
		fb_rcuwait_wake(&mm->writer_wait);
}

static void end_read(struct vma *v, struct fb_task *me)
{
	if (gen == 2) {
		put(v);
		return;
	}
	fb_rcu_read_lock(me);	/* keeps the lock itself */
	fb_up_read(&v->lock, me);
	fb_rcu_read_unlock(me);
}

static enum result start_read(struct vma *v, struct fb_task *me)
{
	uint32_t old;

	if (lock_seq(v) == fb_load_u32(&mm->seq.sequence, FB_RELAXED))	/* relaxed: a pre-check */
		return ABORT;
	if (gen == 2) {
		if (!fb_refcount_inc_not_zero_limited_acquire(&v->refcnt, &old, LIMIT))
			return old ? ABORT : MISS;
	} else if (!fb_down_read_trylock(&v->lock, me)) {
		return ABORT;
	}
	if (!fb_mut(VMA_NO_RECHECK) && lock_seq(v) == fb_seq_read_acquire(&mm->seq)) {
		end_read(v, me);
		return ABORT;
	}
	return OK;
}

static void start_write(struct vma *v, struct fb_task *me)
{
	uint32_t seq = fb_load_u32(&mm->seq.sequence, FB_RELAXED);	/* relaxed: mmap_lock is ours */

	if (lock_seq(v) == seq)
		return;
	if (gen == 2) {
		if (!fb_refcount_add_not_zero(&v->refcnt, OFFSET))
			torture_fail('V', "a mapped VMA has no reference");
		fb_rcuwait_wait_u32(&mm->writer_wait, &v->refcnt.refs, OFFSET + 1, me);
		fb_store_u32(&v->vm_lock_seq, seq, FB_RELAXED);	/* relaxed: the RELEASE below publishes it */
		fb_refcount_sub_return(&v->refcnt, OFFSET);
	} else {
		fb_down_write(&v->lock, me);
		if (!fb_mut(VMA_SEQ_AFTER_UNLOCK))
			fb_store_u32(&v->vm_lock_seq, seq, FB_RELAXED);	/* relaxed: the RELEASE of up_write */
		fb_up_write(&v->lock, me);
		if (fb_mut(VMA_SEQ_AFTER_UNLOCK))
			fb_store_u32(&v->vm_lock_seq, seq, FB_RELAXED);
	}
}

/* Out of the tree; the object is free after a grace period, from gen 2 on at once. */
static void detach(struct vma *v, struct fb_task *me)
{
	uint32_t i = (uint32_t)(v - vmas);

	fb_store_u32(&v->detached, 1, FB_RELAXED);	/* relaxed: write-locked; end_all publishes it */
	/* relaxed: an unlink; what follows it is ordered by the grace period or by the count */
	fb_store_ptr((void **)&mm->slots[i / 2], NULL, FB_RELAXED);
	if (gen == 2 && fb_refcount_sub_return(&v->refcnt, 1)) {
		/* readers that came in between their count and their look at the sequence */
		if (fb_refcount_add_not_zero(&v->refcnt, OFFSET)) {
			fb_rcuwait_wait_u32(&mm->writer_wait, &v->refcnt.refs, OFFSET, me);
			fb_refcount_sub_return(&v->refcnt, OFFSET);
		}
	}
	life[i].free = true;
	life[i].cookie = gen == 2 ? 0 : fb_rcu_snapshot(me->rcu);
}

static void attach(uint32_t slot, struct fb_task *me)
{
	for (uint32_t i = 2 * slot; i < 2 * slot + 2; i++) {
		if (!life[i].free || !fb_rcu_elapsed(me->rcu, life[i].cookie, me))
			continue;
		life[i].free = false;
		torture_enter_write(&inside[i]);
		torture_write(&data[i], me, hold);	/* nobody can hold it */
		torture_leave_write(&inside[i]);
		fb_store_u32(&vmas[i].detached, 0, FB_RELAXED);
		fb_store_u32(&vmas[i].vm_lock_seq, fb_load_u32(&mm->seq.sequence, FB_RELAXED) - 2, FB_RELAXED);
		fb_refcount_set_release(&vmas[i].refcnt, 1);
		/* RELEASE, pairs with the readers' ACQUIRE of the slot */
		fb_store_ptr((void **)&mm->slots[slot], &vmas[i], FB_RELEASE);
		return;
	}
}

static void look(struct vma *v, struct fb_task *me)
{
	torture_enter_read(&inside[v - vmas]);
	torture_read(&data[v - vmas], me, hold);
	torture_leave_read(&inside[v - vmas]);
}

static enum result fault(uint32_t slot, struct fb_task *me)
{
	enum result r = MISS;
	struct vma *v;

	fb_rcu_read_lock(me);
	/* ACQUIRE, pairs with the RELEASE store in attach */
	v = fb_load_ptr((void *const *)&mm->slots[slot], FB_ACQUIRE);
	if (v) {
		r = start_read(v, me);
		if (r == OK && (gen == 2 ? fb_load_u32(&v->slot, FB_RELAXED) != slot :
					   fb_load_u32(&v->detached, FB_RELAXED))) {
			end_read(v, me);
			r = MISS;
		}
	}
	fb_rcu_read_unlock(me);
	if (r == OK) {
		look(v, me);
		end_read(v, me);
	}
	return r;
}

static void read_op(struct fb_task *me)
{
	uint32_t slot = torture_random(me) % SLOTS;
	struct vma *v;

	torture_of(me)->reads++;
	if (fault(slot, me) == OK)
		return;
	torture_of(me)->other++;
	fb_down_read(&mm->mmap_lock, me);
	v = fb_load_ptr((void *const *)&mm->slots[slot], FB_RELAXED);	/* relaxed: mmap_lock */
	if (v)
		look(v, me);
	fb_up_read(&mm->mmap_lock, me);
}

static void write_op(struct fb_task *me)
{
	uint64_t roll = torture_random(me);
	bool downgrade = roll % 4 == 0;

	fb_down_write(&mm->mmap_lock, me);
	if (gen)
		fb_seq_begin(&mm->seq);
	for (uint32_t n = 1 + roll / 4 % 2; n--;) {
		uint32_t slot = torture_random(me) % SLOTS;
		struct vma *v = fb_load_ptr((void *const *)&mm->slots[slot], FB_RELAXED);	/* relaxed: mmap_lock */

		if (!v) {
			attach(slot, me);
			continue;
		}
		start_write(v, me);
		torture_enter_write(&inside[v - vmas]);
		torture_write(&data[v - vmas], me, hold);
		torture_leave_write(&inside[v - vmas]);
		if (roll % 32 == 7)
			detach(v, me);
	}
	/* vma_end_write_all: drops every VMA write lock with one RELEASE store */
	if (!fb_mut(VMA_END_AFTER))
		fb_seq_end(&mm->seq);
	torture_of(me)->writes++;
	if (downgrade) {
		fb_downgrade_write(&mm->mmap_lock, me);
		fb_up_read(&mm->mmap_lock, me);
	} else {
		fb_up_write(&mm->mmap_lock, me);
	}
	if (fb_mut(VMA_END_AFTER))
		fb_seq_end(&mm->seq);
}

static void done(const struct torture_args *a, const struct fb_task *tasks, uint32_t nr, bool last)
{
	uint64_t together = 0;

	(void)a, (void)tasks, (void)nr;
	if (!fb_rwsem_at_rest(&mm->mmap_lock))
		torture_fail('Q', "mmap_lock is not at rest");
	for (uint32_t i = 0; i < 2 * SLOTS; i++) {
		if (gen == 2 ? fb_refcount_read(&vmas[i].refcnt) != !life[i].free : !fb_rwsem_at_rest(&vmas[i].lock))
			torture_fail('Q', "VMA %u is not at rest", i);
		if (inside[i].seen > together)
			together = inside[i].seen;
	}
	if (last)
		torture_report("together", together);
}

static void dump(void)
{
	fprintf(stderr, "mmap_lock count %llx, mm_lock_seq %u\n", (unsigned long long)fb_load_u64(&mm->mmap_lock.count, FB_RELAXED),
		fb_load_u32(&mm->seq.sequence, FB_RELAXED));
	for (uint32_t i = 0; i < 2 * SLOTS; i++)
		fprintf(stderr, "vma %u: vm_lock_seq %u refcnt %x count %llx\n", i, lock_seq(&vmas[i]),
			fb_refcount_read(&vmas[i].refcnt), (unsigned long long)fb_load_u64(&vmas[i].lock.count, FB_RELAXED));
}

static struct torture vma_lock = {
	.name = "vma_lock", .setup = setup, .reader = read_op, .writer = write_op, .done = done, .dump = dump};
TORTURE(vma_lock)
