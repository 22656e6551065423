/* SPDX-License-Identifier: MIT */
/*
 * RCU by quiescent states. A reader costs what the kernel's rcu_read_lock costs, nothing shared: it looks at the number
 * of the current grace period when its outermost read section ends, a line that only grace periods write, and repeats it
 * on its own line when it is new.
 *
 *	updater: unlink ─► period N begins (gp = N) ─────────────────────► every task says N or offline: free
 *	reader:   read section (may hold the object) ─► sees gp = N, says N ─► read section (cannot find the object)
 *
 * That a task "says N" after it *acquired* gp = N is the point: its later reads then see the unlink. (A counter bumped
 * without looking at gp would need a full fence in each reader: the bump could pass the reads after it.)
 * A task that sleeps is offline and says 0. Going offline and online again, against an updater that looks at the word in
 * between, is Dekker's problem; both sides use a read-modify-write on the word.
 *
 * Freeing is deferred with a cookie: fb_rcu_snapshot after the unlink, fb_rcu_elapsed before the reuse.
 */
#ifndef FB_SYNC_RCU_H
#define FB_SYNC_RCU_H

#include "sync/atomic.h"
#include "sync/qspinlock.h"

struct fb_rcu {
	_Alignas(FB_LINE_PAIR) uint64_t gp;	/* the period that began last; read by all, written once a period */
	_Alignas(FB_LINE_PAIR) uint64_t begun;	/* == gp; the updaters' copy, which they may write as often as they like */
	uint64_t done;				/* the last that has ended */
	struct fb_spinlock lock;		/* one task at a time begins and ends periods */
};

FB_INLINE void fb_rcu_init(struct fb_rcu *rcu)
{
	/* relaxed: set-up. 0 is the word of a task that is offline, so periods begin at 1. */
	fb_store_u64(&rcu->gp, 1, FB_RELAXED);
	fb_store_u64(&rcu->begun, 1, FB_RELAXED);
	fb_store_u64(&rcu->done, 1, FB_RELAXED);
}

/* Before a task's first read section, and after each sleep. */
static inline void fb_rcu_online(struct fb_task *me)
{
	/* ACQUIRE, pairs with the RELEASE store of gp in fb_rcu_advance */
	me->rcu_seen = fb_load_u64(&me->rcu->gp, FB_ACQUIRE);
	/* ACQ_REL on the word that fb_rcu_quiet reads by an RMW: it sees us, or we see what it had unlinked */
	if (fb_mut(RCU_ONLINE_STORE))
		fb_store_u64(&me->sh->rcu, me->rcu_seen, FB_RELEASE);
	else
		fb_xchg_u64(&me->sh->rcu, me->rcu_seen, FB_ACQ_REL);
}

/* After its last, and before each sleep. */
static inline void fb_rcu_offline(struct fb_task *me)
{
	if (fb_unlikely(me->rcu_nesting))
		fb_bug("a task sleeps or ends in an RCU read section");
	me->rcu_seen = 0;
	/* RELEASE, pairs with fb_rcu_quiet: our read sections are over */
	fb_store_u64(&me->sh->rcu, 0, FB_RELEASE);
}

FB_INLINE void fb_rcu_read_lock(struct fb_task *me) { me->rcu_nesting++; }

FB_INLINE void fb_rcu_read_unlock(struct fb_task *me)
{
	uint64_t gp;

	if (--me->rcu_nesting)
		return;
	/* ACQUIRE, pairs with the RELEASE store of gp in fb_rcu_advance: what we read from now on sees the unlinks
	 * before that period */
	gp = fb_load_u64(&me->rcu->gp, FB_ACQUIRE);
	if (fb_unlikely(gp != me->rcu_seen)) {
		me->rcu_seen = gp;
		/* RELEASE, pairs with fb_rcu_quiet: our read sections up to here are over */
		fb_store_u64(&me->sh->rcu, gp, FB_RELEASE);
	}
}

/* Between two operations of a task that reads little under RCU: until it says so, every grace period waits for it. */
FB_INLINE void fb_rcu_quiescent(struct fb_task *me)
{
	fb_rcu_read_lock(me);
	fb_rcu_read_unlock(me);
}

/* How a lock sleeps: offline, so that no grace period waits for it. As fb_park, it may return early. */
static inline bool fb_schedule(struct fb_task *me, uint64_t timeout_ns)
{
	bool woken;

	fb_rcu_offline(me);
	woken = fb_park(me, timeout_ns);
	fb_rcu_online(me);
	return woken;
}

/* A cookie for what has just been unlinked. */
static inline uint64_t fb_rcu_snapshot(struct fb_rcu *rcu)
{
	/*
	 * The next period to begin. A read-modify-write, ACQ_REL, pairs with the one in fb_rcu_advance: that comes after
	 * ours and then passes our unlink on with gp, or before it and we see the period that has begun without us.
	 */
	return fb_fetch_add_u64(&rcu->begun, 0, FB_ACQ_REL) + !fb_mut(RCU_JOINS_PERIOD);
}

FB_INLINE bool fb_rcu_quiet(struct fb_task_shared *sh, uint64_t gp)
{
	/* ACQUIRE, pairs with the RELEASE stores of the word: what the task read before them is read */
	uint64_t seen = fb_load_u64(&sh->rcu, FB_ACQUIRE);

	if (seen)
		return seen >= gp;
	/* Offline it seems. ACQ_REL, pairs with the exchange in fb_rcu_online. */
	return !fb_fetch_add_u64(&sh->rcu, 0, FB_ACQ_REL);
}

/* End the current period if every task allows it; begin the next if `cookie` needs it. Never waits. */
static inline void fb_rcu_advance(struct fb_rcu *rcu, uint64_t cookie, struct fb_task *me)
{
	uint64_t begun, done;
	uint32_t i;

	if (!fb_spin_trylock(&rcu->lock))
		return;
	begun = fb_load_u64(&rcu->begun, FB_RELAXED);	/* relaxed, as done: only written under the lock */
	done = fb_load_u64(&rcu->done, FB_RELAXED);
	if (done == begun && begun < cookie) {
		/* ACQ_REL, pairs with fb_rcu_snapshot */
		begun = fb_fetch_add_u64(&rcu->begun, 1, FB_ACQ_REL) + 1;
		/* RELEASE, pairs with the acquire loads of gp: the unlinks before this period */
		fb_store_u64(&rcu->gp, begun, FB_RELEASE);
	}
	if (done != begun) {
		for (i = fb_mut(RCU_SKIPS_ONE); i < me->nr && fb_rcu_quiet(me->all[i].sh, begun); i++)
			;
		if (i == me->nr)	/* RELEASE, pairs with the acquire load in fb_rcu_elapsed */
			fb_store_u64(&rcu->done, begun, FB_RELEASE);
	}
	fb_spin_unlock(&rcu->lock);
}

/* Nobody can still hold what was unlinked before `cookie` was taken. Tries to bring that about; call it now and then. */
static inline bool fb_rcu_elapsed(struct fb_rcu *rcu, uint64_t cookie, struct fb_task *me)
{
	/* ACQUIRE, pairs with the RELEASE store in fb_rcu_advance: also what the readers' RELEASEs passed to it */
	if (fb_load_u64(&rcu->done, FB_ACQUIRE) >= cookie)
		return true;
	fb_rcu_advance(rcu, cookie, me);
	return fb_load_u64(&rcu->done, FB_ACQUIRE) >= cookie;	/* ACQUIRE, as above */
}

/* Wait for a grace period; not in a read section. Offline meanwhile, so that two who wait do not wait for each other. */
static inline void fb_synchronize_rcu(struct fb_task *me)
{
	uint64_t cookie = fb_rcu_snapshot(me->rcu), done;

	fb_rcu_offline(me);
	for (;;) {
		done = fb_load_u64(&me->rcu->done, FB_RELAXED);	/* relaxed: only to notice its change */
		if (fb_rcu_elapsed(me->rcu, cookie, me))
			break;
		if (fb_load_u64(&me->rcu->done, FB_RELAXED) == done)
			fb_spin_u64(&me->rcu->done, done);
	}
	fb_rcu_online(me);
}

#endif
