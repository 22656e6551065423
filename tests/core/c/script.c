/* SPDX-License-Identifier: MIT */
/*
 * The rwsem's rules one by one, in scripts: one thread plays several tasks and looks at the words. What a random run meets
 * once in a while, a handoff or a batch of 300 readers, is here each time.
 */
#include "sync/rwsem.h"
#include "torture.h"

#define CHECK(property, what)	\
	do { if (!(what)) torture_fail(property, "line %d: %s", __LINE__, #what); } while (0)

static struct fb_rwsem *s;
static struct fb_task *t;	/* t[0] … t[nr - 1], all played by the one thread */

static uint64_t count(void) { return fb_load_u64(&s->count, FB_RELAXED); }

/* Queue as a slow path does, up to its sleep. */
static void queue(uint32_t i, uint32_t type)
{
	struct fb_rwsem_waiter *w = &t[i].sh->waiter;

	fb_rwsem_init_waiter(w, type, &t[i]);
	fb_spin_lock(&s->wait_lock, &t[i]);
	fb_rwsem_add_waiter(s, w);
	fb_fetch_or_u64(&s->count, FB_RWSEM_FLAG_WAITERS, FB_RELAXED);
	fb_spin_unlock(&s->wait_lock);
}

static bool granted(uint32_t i) { return !fb_load_ptr((void *const *)&t[i].sh->waiter.task, FB_ACQUIRE); }
static bool woken(uint32_t i) { return fb_load_u32(&t[i].sh->token, FB_RELAXED); }
static void wait_too_long(uint32_t i) { fb_store_u64(&t[i].sh->waiter.timeout, 0, FB_RELAXED); }

static bool try_queued(uint32_t i)
{
	bool got;

	fb_spin_lock(&s->wait_lock, &t[i]);
	got = fb_rwsem_try_write_lock(s, &t[i].sh->waiter, &t[i]);
	fb_spin_unlock(&s->wait_lock);
	return got;
}

static void truth_table(void)
{
	CHECK('E', !fb_down_read(s, &t[0]) && fb_down_read_trylock(s, &t[1]));
	CHECK('E', count() == 2 * FB_RWSEM_READER_BIAS && !fb_down_write_trylock(s, &t[2]));
	CHECK('E', fb_rwsem_owner(s) == ((uint64_t)(uintptr_t)&t[1] | FB_RWSEM_READER_OWNED));
	fb_up_read(s, &t[0]);
	fb_up_read(s, &t[1]);
	CHECK('Q', fb_rwsem_at_rest(s) && (fb_rwsem_owner(s) & FB_RWSEM_READER_OWNED));
	CHECK('E', !fb_down_write(s, &t[0]) && !fb_down_read_trylock(s, &t[1]) && !fb_down_write_trylock(s, &t[1]));
	CHECK('E', fb_rwsem_owner(s) == (uint64_t)(uintptr_t)&t[0] && count() == FB_RWSEM_WRITER_LOCKED);
	fb_downgrade_write(s, &t[0]);
	CHECK('D', count() == FB_RWSEM_READER_BIAS && fb_down_read_trylock(s, &t[1]) && !fb_down_write_trylock(s, &t[2]));
	fb_up_read(s, &t[0]);
	fb_up_read(s, &t[1]);
	CHECK('Q', fb_rwsem_at_rest(s));
}

/* A head that has waited 4 ms asks for the lock; from then on only it gets it. */
static void handoff(void)
{
	fb_down_write(s, &t[0]);
	queue(1, FB_RWSEM_WAITING_FOR_WRITE);
	queue(2, FB_RWSEM_WAITING_FOR_WRITE);
	CHECK('W', !try_queued(1) && !(count() & FB_RWSEM_FLAG_HANDOFF));
	wait_too_long(1);
	CHECK('W', !try_queued(1) && (count() & FB_RWSEM_FLAG_HANDOFF));
	fb_up_write(s, &t[0]);
	CHECK('H', woken(1) && !woken(2));
	CHECK('W', !fb_rwsem_try_write_lock_unqueued(s, &t[3]) && !fb_down_write_trylock(s, &t[3]));
	CHECK('W', !fb_down_read_trylock(s, &t[3]) && !try_queued(2));
	CHECK('W', try_queued(1) && !(count() & FB_RWSEM_FLAG_HANDOFF) && (count() & FB_RWSEM_FLAG_WAITERS));
	fb_up_write(s, &t[1]);
	CHECK('H', woken(2));
	CHECK('E', try_queued(2) && count() == FB_RWSEM_WRITER_LOCKED);
	fb_up_write(s, &t[2]);
	CHECK('Q', fb_rwsem_at_rest(s));
}

/* Before the handoff a spinner may take it over those who wait, a reader too when no reader is in. */
static void stealing(void)
{
	fb_down_write(s, &t[0]);
	queue(1, FB_RWSEM_WAITING_FOR_WRITE);
	fb_up_write(s, &t[0]);
	CHECK('W', fb_rwsem_try_write_lock_unqueued(s, &t[3]) && !try_queued(1));
	fb_up_write(s, &t[3]);
	CHECK('W', !fb_down_read_trylock(s, &t[3]) && fb_down_read(s, &t[3]));
	CHECK('W', count() == (FB_RWSEM_READER_BIAS | FB_RWSEM_FLAG_WAITERS) && !try_queued(1));
	fb_up_read(s, &t[3]);
	CHECK('H', woken(1) && try_queued(1));
	fb_up_write(s, &t[1]);
	CHECK('Q', fb_rwsem_at_rest(s));
}

/* A reader at the head brings in all readers behind it, at most 256, past the writers between them. */
static void batch(uint32_t readers)
{
	uint32_t n = 0, most = readers < FB_RWSEM_MAX_READERS_WAKEUP ? readers : FB_RWSEM_MAX_READERS_WAKEUP;

	fb_down_write(s, &t[0]);
	for (uint32_t i = 1; i <= readers; i++)
		queue(i, FB_RWSEM_WAITING_FOR_READ);
	queue(readers + 1, FB_RWSEM_WAITING_FOR_WRITE);
	queue(readers + 2, FB_RWSEM_WAITING_FOR_READ);
	fb_up_write(s, &t[0]);
	for (uint32_t i = 1; i <= readers; i++)
		n += granted(i) && woken(i);
	n += granted(readers + 2) && readers < FB_RWSEM_MAX_READERS_WAKEUP;
	most += readers < FB_RWSEM_MAX_READERS_WAKEUP;
	CHECK('R', n == most && !granted(readers + 1) && !woken(readers + 1));
	CHECK('Q', count() == (most * FB_RWSEM_READER_BIAS | FB_RWSEM_FLAG_WAITERS));
	CHECK('W', !try_queued(readers + 1));
	for (uint32_t i = 0; i < most; i++)
		fb_up_read(s, &t[0]);
	if (readers >= FB_RWSEM_MAX_READERS_WAKEUP) {	/* the rest, as the last of the batch leaves */
		uint32_t rest = readers + 1 - most;

		CHECK('R', count() == (rest * FB_RWSEM_READER_BIAS | FB_RWSEM_FLAG_WAITERS) && granted(readers + 2));
		for (uint32_t i = 0; i < rest; i++)
			fb_up_read(s, &t[0]);
	}
	CHECK('H', woken(readers + 1) && try_queued(readers + 1));
	fb_up_write(s, &t[readers + 1]);
	CHECK('Q', fb_rwsem_at_rest(s));
}

/* A downgrade lets waiting readers in and leaves writers where they are. */
static void downgrade(void)
{
	fb_down_write(s, &t[0]);
	queue(1, FB_RWSEM_WAITING_FOR_READ);
	queue(2, FB_RWSEM_WAITING_FOR_WRITE);
	fb_downgrade_write(s, &t[0]);
	CHECK('D', granted(1) && !woken(2) && count() == (2 * FB_RWSEM_READER_BIAS | FB_RWSEM_FLAG_WAITERS));
	fb_up_read(s, &t[0]);
	CHECK('H', !woken(2));
	fb_up_read(s, &t[1]);
	CHECK('H', woken(2) && try_queued(2) && count() == FB_RWSEM_WRITER_LOCKED);
	fb_up_write(s, &t[2]);
	CHECK('Q', fb_rwsem_at_rest(s));
}

/* A reader at the head that writers keep stealing from asks for the handoff as well, and gets it. */
static void reader_handoff(void)
{
	struct fb_wake_q q = {0};

	fb_down_write(s, &t[0]);
	queue(1, FB_RWSEM_WAITING_FOR_READ);
	wait_too_long(1);
	fb_spin_lock(&s->wait_lock, &t[0]);
	fb_rwsem_mark_wake(s, FB_RWSEM_WAKE_ANY, &q);	/* finds a writer that has stolen it */
	fb_spin_unlock(&s->wait_lock);
	CHECK('W', !q.nr && !granted(1) && count() == (FB_RWSEM_WRITER_LOCKED | FB_RWSEM_FLAG_WAITERS | FB_RWSEM_FLAG_HANDOFF));
	fb_up_write(s, &t[0]);
	CHECK('W', granted(1) && woken(1) && count() == FB_RWSEM_READER_BIAS);
	fb_up_read(s, &t[1]);
	CHECK('Q', fb_rwsem_at_rest(s));
}

/* Readers that hold it for too long make writers sleep instead of spin, until the last reader leaves. */
static void nonspinnable(void)
{
	fb_down_read(s, &t[0]);
	fb_rwsem_set_nonspinnable(s);
	CHECK('F', fb_rwsem_owner(s) & FB_RWSEM_NONSPINNABLE);
	CHECK('F', !fb_rwsem_optimistic_spin(s, &t[1], UINT64_MAX));
	fb_down_read(s, &t[2]);
	CHECK('F', fb_rwsem_owner(s) & FB_RWSEM_NONSPINNABLE);	/* kept by the readers that come */
	queue(1, FB_RWSEM_WAITING_FOR_WRITE);
	fb_up_read(s, &t[0]);
	fb_up_read(s, &t[2]);
	CHECK('H', !(fb_rwsem_owner(s) & FB_RWSEM_NONSPINNABLE) && woken(1) && try_queued(1));
	fb_up_write(s, &t[1]);
	CHECK('Q', fb_rwsem_at_rest(s));
}

static void setup(const struct torture_args *a)
{
	if (a->readers + a->writers < 310)
		torture_fail('F', "the scripts need 310 tasks");
	s = torture_alloc(sizeof(*s));
	fb_rwsem_init(s);
}

static void op(struct fb_task *me)
{
	if (me->id)
		return;
	t = me->all;
	void (*const scripts[])(void) = {truth_table, handoff, stealing, downgrade, reader_handoff, nonspinnable};

	for (uint32_t i = 0; i < sizeof(scripts) / sizeof(*scripts) + 2; i++) {
		for (uint32_t k = 0; k < me->nr; k++)
			fb_store_u32(&t[k].sh->token, 0, FB_RELAXED);
		if (i < sizeof(scripts) / sizeof(*scripts))
			scripts[i]();
		else
			batch(i == sizeof(scripts) / sizeof(*scripts) ? 3 : 300);
	}
}

static struct torture script = {.name = "script", .setup = setup, .reader = op, .writer = op};
TORTURE(script)
