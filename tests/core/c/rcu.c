/* SPDX-License-Identifier: MIT */
/*
 * RCU, SRCU, pools and the osq: U (what is read is never written after its grace period, plainly, so that ThreadSanitizer
 * sees a read that is not ordered before it), E, H, Q.
 */
#include "sync/osq.h"
#include "sync/pool.h"
#include "sync/srcu.h"
#include "torture.h"

enum { ELEMENTS = 4096, SLOTS = 4, PENDING = 64, DEAD = 0xdead };

struct element {
	uint64_t value, check;	/* plain */
};

/* Updaters take elements from a pool of handles, so that an element is reused as soon as it may be. */
struct handle {
	uint64_t link, index;
};

static struct element elements[ELEMENTS];
static uint64_t *slots;
static struct fb_pool *pool;
static struct fb_srcu *srcu;
static uint32_t hold;
static struct {
	_Alignas(128) uint64_t handle[PENDING], cookie[PENDING];
	uint32_t nr;
} pending[256];

static uint64_t index_of(uint64_t handle)
{
	/* relaxed: constant once handed out */
	return fb_load_u64(&((struct handle *)(uintptr_t)handle)->index, FB_RELAXED);
}

static uint64_t next;

static uint64_t make(struct fb_task *me)
{
	struct handle *h = fb_pool_alloc(pool, me);
	uint64_t i, value;

	if (!h)
		torture_fail('Q', "the pool is empty: objects leaked");
	i = index_of((uint64_t)(uintptr_t)h);
	if (!i) {
		i = __atomic_add_fetch(&next, 1, __ATOMIC_RELAXED);
		if (i >= ELEMENTS)
			torture_fail('Q', "the pool handed out too many objects");
		fb_store_u64(&h->index, i, FB_RELAXED);
	} else if (GET(elements[i].value) != DEAD) {
		torture_fail('U', "an element was reused before its grace period");
	}
	value = torture_random(me) | 1 << 20;
	SET(elements[i].value, value);
	SET(elements[i].check, ~value);
	return (uint64_t)(uintptr_t)h;
}

static void bury(uint64_t handle, struct fb_task *me)
{
	SET(elements[index_of(handle)].value, DEAD);
	fb_pool_free(pool, (void *)(uintptr_t)handle, me);
}

static void setup(const struct torture_args *a)
{
	if (a->readers + a->writers > 256)
		torture_fail('F', "too many tasks");
	next = 0;
	memset(elements, 0, sizeof(elements));
	hold = a->hold;
	memset(pending, 0, sizeof(pending));
	slots = torture_alloc(SLOTS * sizeof(*slots));
	srcu = torture_alloc(sizeof(*srcu));
	fb_srcu_init(srcu, 2);
	pool = fb_pool_create(&torture_arena, a->readers + a->writers, sizeof(struct handle), 64,
			      offsetof(struct handle, link), (a->readers + a->writers) * (PENDING + 1) + SLOTS);
	if (!pool)
		torture_fail('F', "the arena is too small");
}

static void look(struct fb_task *me, uint32_t slot, bool may_sleep)
{
	/* ACQUIRE, pairs with the ACQ_REL exchange of the updater */
	uint64_t h = fb_load_u64(&slots[slot], FB_ACQUIRE), i, value;

	if (!h)
		return;
	i = index_of(h);
	value = GET(elements[i].value);
	if (may_sleep)
		fb_schedule(me, 20000);
	else
		torture_pause_inside(me, 256);
	if (value == DEAD || GET(elements[i].value) != value || GET(elements[i].check) != ~value)
		torture_fail('U', "a reader saw an element after its grace period");
}

static void rcu_read(struct fb_task *me)
{
	uint64_t roll = torture_random(me);

	fb_rcu_read_lock(me);
	if (roll % 8 == 0) {	/* nested */
		fb_rcu_read_lock(me);
		look(me, roll / 8 % SLOTS, false);
		fb_rcu_read_unlock(me);
	}
	look(me, roll / 8 % SLOTS, false);
	fb_rcu_read_unlock(me);
	torture_of(me)->reads++;
	if (hold && roll % (64 * hold) == 1)
		fb_schedule(me, 10000);
}

static void rcu_write(struct fb_task *me)
{
	typeof(&pending[0]) p = &pending[me->id];
	uint64_t roll = torture_random(me), old, h = roll % 8 ? make(me) : 0;

	/* ACQ_REL: RELEASE, pairs with the readers' ACQUIRE; ACQUIRE, pairs with the updater's before */
	old = fb_xchg_u64(&slots[roll / 8 % SLOTS], h, FB_ACQ_REL);
	torture_of(me)->writes++;
	fb_rcu_quiescent(me);
	if (old && roll % 64 == 0) {
		fb_synchronize_rcu(me);
		bury(old, me);
	} else if (old) {
		p->handle[p->nr] = old;
		p->cookie[p->nr++] = fb_rcu_snapshot(me->rcu);
	}
	for (uint32_t i = 0; i < p->nr;) {
		if (p->nr == PENDING && !fb_rcu_elapsed(me->rcu, p->cookie[i], me)) {
			fb_schedule(me, 10000);
		} else if (fb_rcu_elapsed(me->rcu, p->cookie[i], me)) {
			bury(p->handle[i], me);
			p->handle[i] = p->handle[--p->nr];
			p->cookie[i] = p->cookie[p->nr];
		} else {
			i++;
		}
	}
}

static void rcu_done(const struct torture_args *a, const struct fb_task *tasks, uint32_t nr, bool last)
{
	(void)last;
	uint64_t held = 0;

	(void)a;
	for (uint32_t i = 0; i < nr; i++)
		held += pending[i].nr + (fb_load_u64(&tasks[i].sh->rcu, FB_RELAXED) != 0) * 1000000;
	for (uint32_t i = 0; i < SLOTS; i++)
		held += fb_load_u64(&slots[i], FB_RELAXED) != 0;
	if (fb_pool_live(pool) != held)
		torture_fail('Q', "%llu objects live, %llu held", (unsigned long long)fb_pool_live(pool), (unsigned long long)held);
	if (last)
		torture_report("periods", tasks ? fb_load_u64(&tasks->rcu->done, FB_RELAXED) : 0);
}

static struct torture rcu = {
	.name = "rcu", .setup = setup, .reader = rcu_read, .writer = rcu_write, .done = rcu_done};
TORTURE(rcu)

static void srcu_read(struct fb_task *me)
{
	uint32_t idx = fb_srcu_read_lock(srcu, me);
	uint64_t roll = torture_random(me);

	look(me, roll / 512 % SLOTS, roll % 512 == 0);
	fb_srcu_read_unlock(srcu, idx, me);
	torture_of(me)->reads++;
}

static void srcu_write(struct fb_task *me)
{
	/* ACQ_REL, as above */
	uint64_t old = fb_xchg_u64(&slots[torture_random(me) % SLOTS], make(me), FB_ACQ_REL);

	torture_of(me)->writes++;
	fb_synchronize_srcu(srcu, me);
	if (old)
		bury(old, me);
}

static struct torture srcu_torture = {
	.name = "srcu", .setup = setup, .reader = srcu_read, .writer = srcu_write, .done = rcu_done};
TORTURE(srcu_torture)

static struct fb_osq *osq;
static struct torture_data data;
static struct torture_inside inside;

static void osq_setup(const struct torture_args *a)
{
	osq = torture_alloc(sizeof(*osq));
	torture_data_init(&data);
	hold = a->hold;
}

static void osq_op(struct fb_task *me)
{
	if (!fb_osq_lock(osq, me)) {
		torture_of(me)->other++;
		fb_schedule(me, 20000);	/* as a user of it would sleep */
		return;
	}
	torture_enter_write(&inside);
	torture_write(&data, me, hold);
	torture_leave_write(&inside);
	fb_osq_unlock(osq, me);
	torture_of(me)->writes++;
}

static void osq_done(const struct torture_args *a, const struct fb_task *tasks, uint32_t nr, bool last)
{
	(void)last;
	(void)a, (void)tasks, (void)nr;
	if (fb_load_u32(&osq->tail, FB_RELAXED))
		torture_fail('Q', "tail is %u at rest", fb_load_u32(&osq->tail, FB_RELAXED));
}

static struct torture osq_torture = {
	.name = "osq", .setup = osq_setup, .reader = osq_op, .writer = osq_op, .done = osq_done};
TORTURE(osq_torture)
