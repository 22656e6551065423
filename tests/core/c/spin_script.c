/* SPDX-License-Identifier: MIT */
/*
 * One order of events of the qspinlock that random schedules do not meet in an hour: the head of the queue, alone in it, is
 * about to take the lock and clear the tail when another, who saw only an owner long ago, sets pending. That one finds the
 * tail, takes its bit back and queues. If the head clears the bit, what is taken back is the bit of a third, and a fourth
 * may become pending beside it: two owners.
 *
 * One thread plays the head, and in places of it, reached through the seam, the other and the owner. Besides: who finds the
 * lock free when he is about to queue takes it.
 */
#include "sync/atomic.h"

static bool scripted_cas(uint32_t *p, uint32_t *expected, uint32_t v, int mo);
static uint16_t scripted_xchg(uint16_t *p, uint16_t v, int mo);
static void scripted_spin(const uint64_t *p, uint64_t old);
#define fb_cas_u32 scripted_cas
#define fb_xchg_u16 scripted_xchg
#define fb_spin_u64 scripted_spin
#include "sync/qspinlock.h"
#undef fb_cas_u32
#undef fb_xchg_u16
#undef fb_spin_u64

#include "torture.h"

static struct fb_spinlock *lock;
static struct fb_task *head, *other;
static bool came, queued, exchanged;

/* `other` sets pending: between the head's look at the word and its compare-and-swap. */
static bool scripted_cas(uint32_t *p, uint32_t *expected, uint32_t v, int mo)
{
	if (p == &lock->val && !came) {
		came = true;
		fb_fetch_or_u32(&lock->val, FB_Q_PENDING, FB_RELAXED);
	}
	return fb_cas_u32(p, expected, v, mo);
}

/* The owner lets go when the head has queued. */
static uint16_t scripted_xchg(uint16_t *p, uint16_t v, int mo)
{
	uint16_t old = fb_xchg_u16(p, v, mo);

	exchanged = true;
	fb_store_u8(fb_spin_locked_byte(lock), 0, FB_RELEASE);
	return old;
}

/* `other` takes the bit back and queues behind the head. */
static void take_back(void)
{
	queued = true;
	if (!(fb_fetch_and_u32(&lock->val, ~FB_Q_PENDING, FB_RELAXED) & FB_Q_PENDING))
		torture_fail('E', "the head cleared a pending bit that was not its own");
	if (fb_xchg_u16(fb_spin_tail(lock), (uint16_t)(other->id + 1), FB_RELAXED) != head->id + 1)
		torture_fail('E', "the head, not followed, is not the tail any more");
	fb_store_ptr((void **)&head->sh->mcs.next, &other->sh->mcs, FB_RELEASE);
}

/* The head has the lock and waits for its successor's node. */
static void scripted_spin(const uint64_t *p, uint64_t old)
{
	(void)old;
	if (p != (const uint64_t *)&head->sh->mcs.next || queued)
		torture_fail('H', "the head waits for something that does not come");
	take_back();
}

static void setup(const struct torture_args *a)
{
	(void)a;
	lock = torture_alloc(sizeof(*lock));
}

static void op(struct fb_task *me)
{
	if (me->id)
		return;
	head = &me->all[0];
	other = &me->all[1];
	fb_store_u32(&other->sh->mcs.locked, 0, FB_RELAXED);

	/* Whoever comes to queue and finds the lock free takes it; its node is never seen. */
	came = true;
	exchanged = false;
	fb_spin_queue(lock, head);
	if (exchanged || fb_load_u32(&lock->val, FB_RELAXED) != FB_Q_LOCKED)
		torture_fail('E', "queued for a lock that was free");

	/* It is held now. Once it is not, the tail is all that keeps others away. */
	came = queued = false;
	fb_spin_queue(lock, head);
	if (!queued)
		take_back();
	if (fb_load_u32(&lock->val, FB_RELAXED) != (FB_Q_LOCKED | (other->id + 1) << FB_Q_TAIL_SHIFT))
		torture_fail('E', "the word is %x", fb_load_u32(&lock->val, FB_RELAXED));
	if (!fb_load_u32(&other->sh->mcs.locked, FB_RELAXED))
		torture_fail('H', "the successor was not woken");
	fb_store_u32(&lock->val, 0, FB_RELAXED);
}

static struct torture spin_script = {.name = "spin_script", .setup = setup, .reader = op, .writer = op};
TORTURE(spin_script)
