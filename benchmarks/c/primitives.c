/* SPDX-License-Identifier: MIT */
/*
 * Each primitive of sync/, taken and given back by every thread as often as it can, and beside it what a program would
 * otherwise use: glibc's rwlock, the C++ library's shared_mutex (shared_mutex.cc) and ck_rwlock (with -DHAVE_CK).
 *
 * A library for test_primitives.py:
 *	primitive_count, primitive_name(i)
 *	primitive_run(i, threads, pairs)	CPU ns of all threads in their loops, or 0 if they could not be started
 *	primitive_together()			whether the last run's threads were at it together: none lost its CPU, and the
 *						last began while the first had most of its work before it
 */
#include <sys/resource.h>

#include "sync/osq.h"
#include "sync/percpu_rwsem.h"
#include "sync/pool.h"
#include "sync/qrwlock.h"
#include "sync/refcount.h"
#include "sync/rwsem_any.h"
#include "sync/seqcount.h"
#include "sync/srcu.h"
#include "sync/tasks.h"
#ifdef HAVE_CK
#include <ck_rwlock.h>
#endif

void *shared_mutex_new(void);
void shared_mutex_delete(void *m);
void shared_mutex_read_pairs(void *m, uint64_t n);
void shared_mutex_write_pairs(void *m, uint64_t n);

/* Each on its own line pair. */
static struct world {
	_Alignas(FB_LINE_PAIR) struct fb_rwsem rwsem;
	_Alignas(FB_LINE_PAIR) struct fb_naive_rwsem naive;
	_Alignas(FB_LINE_PAIR) struct fb_spinlock spinlock;
	_Alignas(FB_LINE_PAIR) struct fb_qrwlock qrwlock;
	_Alignas(FB_LINE_PAIR) struct fb_osq osq;
	_Alignas(FB_LINE_PAIR) struct fb_refcount refcount;
	_Alignas(FB_LINE_PAIR) struct fb_seqcount seqcount;
	_Alignas(FB_LINE_PAIR) struct fb_percpu_rwsem percpu;
	_Alignas(FB_LINE_PAIR) struct fb_srcu srcu;
	_Alignas(FB_LINE_PAIR) pthread_rwlock_t pthread;
#ifdef HAVE_CK
	_Alignas(FB_LINE_PAIR) ck_rwlock_t ck;
#endif
} *w;
static struct fb_pool *pool;
static void *shared_mutex;

static struct {
	uint64_t pairs, cpu_ns;
	uint32_t threads, ready, preempted;
	struct {
		_Alignas(FB_LINE_PAIR) uint64_t began, ended;	/* ns */
	} at[64];
	void (*loop)(struct fb_task *me, uint64_t n);
} job;

#define LOOP(name, body)	\
	static __attribute__((noinline)) void loop_##name(struct fb_task *me, uint64_t n) { (void)me; while (n--) { body; } }

LOOP(rwsem_read, fb_down_read(&w->rwsem, me); fb_up_read(&w->rwsem, me))
LOOP(rwsem_read_trylock, if (fb_down_read_trylock(&w->rwsem, me)) fb_up_read(&w->rwsem, me))
LOOP(rwsem_write, fb_down_write(&w->rwsem, me); fb_up_write(&w->rwsem, me))
LOOP(rwsem_downgrade, fb_down_write(&w->rwsem, me); fb_downgrade_write(&w->rwsem, me); fb_up_read(&w->rwsem, me))
LOOP(naive_read, fb_naive_down_read(&w->naive, me); fb_naive_up_read(&w->naive))
LOOP(naive_write, fb_naive_down_write(&w->naive, me); fb_naive_up_write(&w->naive))
LOOP(qspinlock, fb_spin_lock(&w->spinlock, me); fb_spin_unlock(&w->spinlock))
LOOP(qrwlock_read, fb_read_lock(&w->qrwlock, me); fb_read_unlock(&w->qrwlock))
LOOP(qrwlock_write, fb_write_lock(&w->qrwlock, me); fb_write_unlock(&w->qrwlock))
LOOP(osq, if (fb_osq_lock(&w->osq, me)) fb_osq_unlock(&w->osq, me))
LOOP(refcount, uint32_t old; if (fb_refcount_inc_not_zero_limited_acquire(&w->refcount, &old, 0x3fffffff))
	fb_refcount_sub_return(&w->refcount, 1))
LOOP(seqcount_read, uint32_t s = fb_seq_read_acquire(&w->seqcount); if (fb_seq_read_retry(&w->seqcount, s)) break)
LOOP(percpu_rwsem_read, fb_percpu_down_read(&w->percpu, me); fb_percpu_up_read(&w->percpu, me))
LOOP(srcu_read, fb_srcu_read_unlock(&w->srcu, fb_srcu_read_lock(&w->srcu, me), me))
LOOP(rcu_read, fb_rcu_read_lock(me); fb_rcu_read_unlock(me))
LOOP(pool, fb_pool_free(pool, fb_pool_alloc(pool, me), me))
LOOP(pthread_read, pthread_rwlock_rdlock(&w->pthread); pthread_rwlock_unlock(&w->pthread))
LOOP(pthread_write, pthread_rwlock_wrlock(&w->pthread); pthread_rwlock_unlock(&w->pthread))
#ifdef HAVE_CK
LOOP(ck_read, ck_rwlock_read_lock(&w->ck); ck_rwlock_read_unlock(&w->ck))
LOOP(ck_write, ck_rwlock_write_lock(&w->ck); ck_rwlock_write_unlock(&w->ck))
#endif

static void loop_shared_mutex_read(struct fb_task *me, uint64_t n) { (void)me, shared_mutex_read_pairs(shared_mutex, n); }
static void loop_shared_mutex_write(struct fb_task *me, uint64_t n) { (void)me, shared_mutex_write_pairs(shared_mutex, n); }

#define ENTRY(name) {#name, loop_##name}
static const struct {
	const char *name;
	void (*loop)(struct fb_task *me, uint64_t n);
} primitives[] = {
	ENTRY(rwsem_read), ENTRY(rwsem_read_trylock), ENTRY(rwsem_write), ENTRY(rwsem_downgrade), ENTRY(naive_read),
	ENTRY(naive_write), ENTRY(qspinlock), ENTRY(qrwlock_read), ENTRY(qrwlock_write), ENTRY(osq), ENTRY(refcount),
	ENTRY(seqcount_read), ENTRY(percpu_rwsem_read), ENTRY(srcu_read), ENTRY(rcu_read), ENTRY(pool), ENTRY(pthread_read),
	ENTRY(pthread_write), ENTRY(shared_mutex_read), ENTRY(shared_mutex_write),
#ifdef HAVE_CK
	ENTRY(ck_read), ENTRY(ck_write),
#endif
};

static uint32_t preemptions(void)
{
	struct rusage use;

	return getrusage(RUSAGE_THREAD, &use) ? 0 : (uint32_t)use.ru_nivcsw;
}

static void body(struct fb_task *me)
{
	uint64_t began;
	uint32_t lost;

	fb_rcu_online(me);
	job.loop(me, 1000);
	/* All at once: a gate's wake-ups are further apart than a short loop is long. */
	__atomic_fetch_add(&job.ready, 1, __ATOMIC_RELAXED);
	for (int i = 0; __atomic_load_n(&job.ready, __ATOMIC_RELAXED) < job.threads; i++) {
		if (i > 1000)
			sched_yield();
	}
	lost = preemptions();
	job.at[me->id % 64].began = fb_now();
	began = fb_cpu_ns();
	job.loop(me, job.pairs);
	__atomic_fetch_add(&job.cpu_ns, fb_cpu_ns() - began, __ATOMIC_RELAXED);
	job.at[me->id % 64].ended = fb_now();
	__atomic_fetch_add(&job.preempted, preemptions() - lost, __ATOMIC_RELAXED);
	fb_rcu_offline(me);
}

static bool set_up(struct fb_arena *a, uint32_t threads)
{
	if (fb_arena_init(a, 4 << 20))
		return false;
	w = fb_arena_alloc(a, sizeof(*w), FB_LINE_PAIR);
	pool = fb_pool_create(a, threads, 64, 64, 0, 1024);
	shared_mutex = shared_mutex_new();
	if (!w || !pool || !shared_mutex)
		return false;
	fb_rwsem_init(&w->rwsem);
	fb_refcount_set_release(&w->refcount, 1);
	fb_percpu_rwsem_init(&w->percpu, 0);
	fb_srcu_init(&w->srcu, 2);
	pthread_rwlock_init(&w->pthread, NULL);
#ifdef HAVE_CK
	ck_rwlock_init(&w->ck);
#endif
	return true;
}

int primitive_count(void) { return sizeof(primitives) / sizeof(*primitives); }
const char *primitive_name(int i) { return primitives[i].name; }

int primitive_together(void)
{
	uint64_t first = UINT64_MAX, last = 0, first_end = UINT64_MAX;

	for (uint32_t i = 0; i < job.threads && i < 64; i++) {
		first = job.at[i].began < first ? job.at[i].began : first;
		last = job.at[i].began > last ? job.at[i].began : last;
		first_end = job.at[i].ended < first_end ? job.at[i].ended : first_end;
	}
	return !job.preempted && last < first_end && (last - first) * 5 < first_end - first;
}

/* Each on a CPU of its own while there are any: two threads that share one do not contend. */
static void pin(struct fb_task *tasks, uint32_t threads)
{
	uint32_t next = 0;
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) || (uint32_t)CPU_COUNT(&cpus) < threads)
		return;
	for (int cpu = 0; cpu < CPU_SETSIZE && next < threads; cpu++) {
		if (CPU_ISSET(cpu, &cpus))
			tasks[next++].cpu = cpu;
	}
}

uint64_t primitive_run(int i, uint32_t threads, uint64_t pairs)
{
	struct fb_run run = {.nr = threads, .nr_workers = threads, .fn = body};
	struct fb_arena a;

	job.pairs = pairs;
	job.cpu_ns = 0;
	job.ready = job.preempted = 0;
	job.threads = threads;
	job.loop = primitives[i].loop;
	if (set_up(&a, threads) && (run.tasks = fb_tasks_create(&a, threads))) {
		pin(run.tasks, threads);
		if (fb_machine_run(&run))
			job.cpu_ns = 0;
	}
	shared_mutex_delete(shared_mutex);
	fb_tasks_destroy(run.tasks);
	fb_arena_destroy(&a);
	return job.cpu_ns;
}
