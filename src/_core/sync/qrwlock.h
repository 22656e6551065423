/* SPDX-License-Identifier: MIT */
/*
 * rwlock_t: the kernel's queued rwlock (kernel/locking/qrwlock.c). Readers count by fetch-add; who does not get it at once
 * queues on an inner qspinlock, readers and writers alike, so that it is fair.
 *
 *	cnts:	0-7 writer holds it	8 a writer waits	9-31 readers
 */
#ifndef FB_SYNC_QRWLOCK_H
#define FB_SYNC_QRWLOCK_H

#include "sync/atomic.h"
#include "sync/qspinlock.h"

#define FB_QW_LOCKED 0xffu
#define FB_QW_WAITING 0x100u
#define FB_QW_MASK 0x1ffu
#define FB_QR_BIAS 0x200u

struct fb_qrwlock {
	uint32_t cnts;
	struct fb_spinlock wait_lock;
};

static __attribute__((noinline, unused)) void fb_read_lock_slow(struct fb_qrwlock *l, struct fb_task *me)
{
	uint32_t cnts;

	/* relaxed: take the bias back while we queue */
	if (!fb_mut(QRW_BIAS_KEPT))
		fb_fetch_add_u32(&l->cnts, -FB_QR_BIAS, FB_RELAXED);
	fb_spin_lock(&l->wait_lock, me);
	fb_fetch_add_u32(&l->cnts, FB_QR_BIAS, FB_RELAXED);	/* relaxed: the loop below acquires */
	/* The head of the queue waits for the writer that holds it, not for one that waits: that one is behind us.
	 * ACQUIRE, pairs with fb_write_unlock. */
	while ((cnts = fb_load_u32(&l->cnts, FB_ACQUIRE)) & FB_QW_LOCKED)
		fb_spin_u32(&l->cnts, cnts);
	fb_spin_unlock(&l->wait_lock);
}

FB_INLINE void fb_read_lock(struct fb_qrwlock *l, struct fb_task *me)
{
	/* ACQUIRE, pairs with fb_write_unlock */
	if (fb_unlikely((fb_fetch_add_u32(&l->cnts, FB_QR_BIAS, FB_ACQUIRE) + FB_QR_BIAS) & FB_QW_MASK))
		fb_read_lock_slow(l, me);
}

FB_INLINE void fb_read_unlock(struct fb_qrwlock *l)
{
	/* RELEASE, pairs with the CAS of the next writer */
	fb_fetch_add_u32(&l->cnts, -FB_QR_BIAS, FB_RELEASE);
}

static __attribute__((noinline, unused)) void fb_write_lock_slow(struct fb_qrwlock *l, struct fb_task *me)
{
	uint32_t cnts = 0;

	fb_spin_lock(&l->wait_lock, me);
	/* ACQUIRE, pairs with fb_write_unlock and the last fb_read_unlock */
	if (fb_cas_u32(&l->cnts, &cnts, FB_QW_LOCKED, FB_ACQUIRE))
		goto out;
	/* relaxed: sends new readers to the queue, behind us */
	fb_fetch_or_u32(&l->cnts, FB_QW_WAITING, FB_RELAXED);
	for (;;) {
		cnts = fb_load_u32(&l->cnts, FB_RELAXED);	/* relaxed: the CAS decides */
		/* ACQUIRE, as above */
		if (cnts == FB_QW_WAITING && fb_cas_u32(&l->cnts, &cnts, FB_QW_LOCKED, FB_ACQUIRE))
			break;
		if (cnts != FB_QW_WAITING)
			fb_spin_u32(&l->cnts, cnts);
	}
out:
	fb_spin_unlock(&l->wait_lock);
}

FB_INLINE void fb_write_lock(struct fb_qrwlock *l, struct fb_task *me)
{
	uint32_t cnts = 0;

	/* ACQUIRE, pairs with fb_write_unlock and the last fb_read_unlock */
	if (fb_unlikely(!fb_cas_u32(&l->cnts, &cnts, FB_QW_LOCKED, FB_ACQUIRE)))
		fb_write_lock_slow(l, me);
}

FB_INLINE void fb_write_unlock(struct fb_qrwlock *l)
{
	/* One byte: the others may change while we hold it. RELEASE, pairs with every ACQUIRE above. */
	if (fb_mut(QRW_UNLOCK_WORD))
		fb_store_u32(&l->cnts, 0, FB_RELEASE);
	else
		fb_store_u8((uint8_t *)&l->cnts, 0, FB_RELEASE);
}

/* Nobody holds it, waits for it, or works on it. Relaxed: for checks at rest. */
FB_INLINE bool fb_qrwlock_at_rest(const struct fb_qrwlock *l)
{
	return !fb_load_u32(&l->cnts, FB_RELAXED) && !fb_spin_is_locked(&l->wait_lock);
}

#endif
