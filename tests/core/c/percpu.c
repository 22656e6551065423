/* SPDX-License-Identifier: MIT */
/* percpu_rwsem: E, R, H, Q; seqcount: no reader takes half a write for a whole one, over the wrap of the sequence. */
#include "sync/percpu_rwsem.h"
#include "sync/seqcount.h"
#include "torture.h"

static struct fb_percpu_rwsem *sem;
static struct torture_data data;
static struct torture_inside inside;
static uint32_t hold;

static void setup(const struct torture_args *a)
{
	sem = torture_alloc(sizeof(*sem));
	fb_percpu_rwsem_init(sem, 5);
	torture_data_init(&data);
	hold = a->hold;
}

static void read_op(struct fb_task *me)
{
	fb_percpu_down_read(sem, me);
	torture_enter_read(&inside);
	torture_read(&data, me, hold);
	torture_leave_read(&inside);
	fb_percpu_up_read(sem, me);
	torture_of(me)->reads++;
	fb_rcu_quiescent(me);
}

static void write_op(struct fb_task *me)
{
	fb_percpu_down_write(sem, me);
	torture_enter_write(&inside);
	torture_write(&data, me, hold);
	torture_leave_write(&inside);
	fb_percpu_up_write(sem, me);
	torture_of(me)->writes++;
	if (torture_random(me) % 4)
		fb_schedule(me, 50000);	/* leave the readers their fast path for a while */
}

static void done(const struct torture_args *a, const struct fb_task *tasks, uint32_t nr, bool last)
{
	(void)last;
	(void)a;
	for (uint32_t i = 0; i < nr; i++) {
		if (fb_load_u64(fb_percpu_count(sem, &tasks[i]), FB_RELAXED))
			torture_fail('Q', "readers are counted at rest");
	}
	if (!fb_rwsem_at_rest(&sem->inner) || fb_load_u32(&sem->busy, FB_RELAXED))
		torture_fail('Q', "not at rest");
	if (last)
		torture_report("together", inside.seen);
}

static struct torture percpu = {
	.name = "percpu_rwsem", .setup = setup, .reader = read_op, .writer = write_op, .done = done};
TORTURE(percpu)

/* Data under a sequence is read while it is written, so it is shared words; see seqcount.h for their orders. */
static struct {
	_Alignas(128) struct fb_seqcount seq;
	struct fb_spinlock lock;
	uint64_t a, b;
} *s;

static void seq_setup(const struct torture_args *a)
{
	s = torture_alloc(sizeof(*s));
	fb_store_u32(&s->seq.sequence, (uint32_t)-(2 * a->wrap), FB_RELAXED);
}

static void seq_read(struct fb_task *me)
{
	uint32_t start = fb_seq_read_acquire(&s->seq);
	/* ACQUIRE, pair with the RELEASE stores below */
	uint64_t a = fb_load_u64(&s->a, FB_ACQUIRE), b = fb_load_u64(&s->b, FB_ACQUIRE);

	if (fb_seq_read_retry(&s->seq, start)) {
		torture_of(me)->other++;
		return;
	}
	if (a != b)
		torture_fail('E', "a reader took half a write for a whole one");
	torture_of(me)->reads++;
}

static void seq_write(struct fb_task *me)
{
	fb_spin_lock(&s->lock, me);
	fb_seq_begin(&s->seq);
	/* RELEASE, pair with the ACQUIRE loads above */
	fb_store_u64(&s->a, fb_load_u64(&s->a, FB_RELAXED) + 1, FB_RELEASE);
	fb_store_u64(&s->b, fb_load_u64(&s->b, FB_RELAXED) + 1, FB_RELEASE);
	fb_seq_end(&s->seq);
	fb_spin_unlock(&s->lock);
	torture_of(me)->writes++;
}

static struct torture seqcount = {.name = "seqcount", .setup = seq_setup, .reader = seq_read, .writer = seq_write};
TORTURE(seqcount)
