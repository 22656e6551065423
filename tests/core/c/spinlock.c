/* SPDX-License-Identifier: MIT */
/* qspinlock and qrwlock: E, R (qrwlock), H, Q. */
#include "sync/qrwlock.h"
#include "sync/qspinlock.h"
#include "torture.h"

static struct fb_spinlock *lock;
static struct fb_qrwlock *rwlock;
static struct torture_data data;
static struct torture_inside inside;
static uint32_t hold;

static void setup(const struct torture_args *a)
{
	lock = torture_alloc(sizeof(*lock));
	rwlock = torture_alloc(sizeof(*rwlock));
	torture_data_init(&data);
	hold = a->hold;
}

static void spin_op(struct fb_task *me)
{
	if (torture_random(me) % 8 == 0) {
		if (!fb_spin_trylock(lock))
			return;
		torture_of(me)->other++;
	} else {
		fb_spin_lock(lock, me);
	}
	torture_enter_write(&inside);
	torture_write(&data, me, hold);
	torture_leave_write(&inside);
	fb_spin_unlock(lock);
	torture_of(me)->writes++;
}

static void spin_done(const struct torture_args *a, const struct fb_task *tasks, uint32_t nr, bool last)
{
	(void)last;
	uint64_t writes = 0;

	(void)a;
	for (uint32_t i = 0; i < nr; i++)
		writes += torture_of(&tasks[i])->writes;
	if (fb_spin_is_locked(lock))
		torture_fail('Q', "the lock's word is %x at rest", fb_load_u32(&lock->val, FB_RELAXED));
	if (writes != data.a)
		torture_fail('E', "%llu writes, %llu counted", (unsigned long long)writes, (unsigned long long)data.a);
}

static void dump(void)
{
	fprintf(stderr, "spinlock %08x, rwlock %08x wait_lock %08x\n", fb_load_u32(&lock->val, FB_RELAXED),
		fb_load_u32(&rwlock->cnts, FB_RELAXED), fb_load_u32(&rwlock->wait_lock.val, FB_RELAXED));
}

static struct torture qspinlock = {
	.name = "qspinlock", .setup = setup, .reader = spin_op, .writer = spin_op, .done = spin_done, .dump = dump};
TORTURE(qspinlock)

static void read_op(struct fb_task *me)
{
	fb_read_lock(rwlock, me);
	torture_enter_read(&inside);
	torture_read(&data, me, hold);
	torture_leave_read(&inside);
	fb_read_unlock(rwlock);
	torture_of(me)->reads++;
}

static void write_op(struct fb_task *me)
{
	fb_write_lock(rwlock, me);
	torture_enter_write(&inside);
	torture_write(&data, me, hold);
	torture_leave_write(&inside);
	fb_write_unlock(rwlock);
	torture_of(me)->writes++;
}

static void rw_done(const struct torture_args *a, const struct fb_task *tasks, uint32_t nr, bool last)
{
	(void)last;
	(void)a, (void)tasks, (void)nr;
	if (fb_load_u32(&rwlock->cnts, FB_RELAXED) || fb_spin_is_locked(&rwlock->wait_lock))
		torture_fail('Q', "cnts is %x at rest", fb_load_u32(&rwlock->cnts, FB_RELAXED));
	if (last)
		torture_report("together", inside.seen);
}

static struct torture qrwlock = {
	.name = "qrwlock", .setup = setup, .reader = read_op, .writer = write_op, .done = rw_done, .dump = dump};
TORTURE(qrwlock)
