/* SPDX-License-Identifier: MIT */
/* rwsem (and its teaching stand-ins): E, R, H, D, Q at random; W, batch wake and steal rules in scripts. */
#include <inttypes.h>

#include "sync/rwsem_any.h"
#include "torture.h"

static struct fb_rwsem_any *sem;
static struct torture_data data;
static struct torture_inside inside;
static uint32_t hold;
static int kind;

static void setup(const struct torture_args *a)
{
	sem = torture_alloc(sizeof(*sem));
	kind = (int)a->gen;
	if (fb_any_init(sem, kind))
		torture_fail('F', "no such lock on this machine");
	torture_data_init(&data);
	hold = a->hold;
}

static void read_op(struct fb_task *me)
{
	if (torture_random(me) % 4 == 0) {
		if (!fb_any_down_read_trylock(sem, kind, me)) {
			torture_of(me)->other++;
			return;
		}
	} else {
		fb_any_down_read(sem, kind, me);
	}
	torture_enter_read(&inside);
	torture_read(&data, me, hold);
	torture_leave_read(&inside);
	fb_any_up_read(sem, kind, me);
	torture_of(me)->reads++;
}

static void write_op(struct fb_task *me)
{
	uint64_t roll = torture_random(me) % 16, began;

	if (roll < 4) {
		if (!fb_any_down_write_trylock(sem, kind, me)) {
			torture_of(me)->other++;
			return;
		}
	} else {
		began = fb_now();
		fb_any_down_write(sem, kind, me);
		torture_waited(me, fb_now() - began);
	}
	torture_enter_write(&inside);
	torture_write(&data, me, hold);
	torture_of(me)->writes++;
	/* D: from writer to reader nobody else writes (glibc cannot do that) */
	if (roll % 4 == 0 && kind != FB_RWSEM_PTHREAD) {
		uint64_t a = GET(data.a);

		torture_leave_write(&inside);
		fb_any_downgrade_write(sem, kind, me);
		torture_enter_read(&inside);
		torture_pause_inside(me, hold ? 4 : 0);
		if (GET(data.a) != a)
			torture_fail('D', "another writer came in during a downgrade");
		torture_read(&data, me, hold);
		torture_leave_read(&inside);
		fb_any_up_read(sem, kind, me);
		return;
	}
	torture_leave_write(&inside);
	fb_any_up_write(sem, kind, me);
}

static void done(const struct torture_args *a, const struct fb_task *tasks, uint32_t nr, bool last)
{
	uint64_t parks = 0, contended = 0, writes = 0;

	(void)a;
	if (!fb_any_at_rest(sem, kind))
		torture_fail('Q', "not at rest: count %" PRIx64, fb_load_u64(&sem->kernel.count, FB_RELAXED));
	for (uint32_t i = 0; i < nr; i++) {
		writes += torture_of(&tasks[i])->writes;
		parks += tasks[i].parks;
		contended += tasks[i].contended;
	}
	if (writes != data.a)
		torture_fail('E', "%" PRIu64 " writes, %" PRIu64 " counted", writes, data.a);
	if (last)
		torture_report("together", inside.seen);
	if (last)
		torture_report("parks", parks);
	if (last)
		torture_report("contended", contended);
	fb_any_destroy(sem, kind);
}

static void dump(void)
{
	struct fb_rwsem *s = &sem->kernel;

	fprintf(stderr, "count %" PRIx64 " owner %" PRIx64 " osq %x wait_lock %x, wait list %s\n",
		fb_load_u64(&s->count, FB_RELAXED), fb_rwsem_owner(s), fb_load_u32(&s->osq.tail, FB_RELAXED),
		fb_load_u32(&s->wait_lock.val, FB_RELAXED), fb_rwsem_list_empty(s) ? "empty" : "not empty");
}

static struct torture rwsem = {
	.name = "rwsem", .setup = setup, .reader = read_op, .writer = write_op, .done = done, .dump = dump};
TORTURE(rwsem)

/* As many reads as it takes: what starves a writer. Results are the writers'. */
static void starve_read(struct fb_task *me)
{
	fb_any_down_read(sem, kind, me);
	torture_read(&data, me, 0);
	fb_any_up_read(sem, kind, me);
	torture_of(me)->reads++;
}

static void starve_write(struct fb_task *me)
{
	uint64_t began = fb_now();

	fb_any_down_write(sem, kind, me);
	torture_waited(me, fb_now() - began);
	torture_write(&data, me, 0);
	fb_any_up_write(sem, kind, me);
	torture_of(me)->writes++;
}

static struct torture starve = {
	.name = "starve", .setup = setup, .reader = starve_read, .writer = starve_write, .done = done, .dump = dump};
TORTURE(starve)
