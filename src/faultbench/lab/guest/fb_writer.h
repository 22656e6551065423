/* SPDX-License-Identifier: MIT */
/*
 * Writers of mmap_lock: what they do to the address space while workers fault.
 *
 * `target` replaces the mapping being faulted by itself (mmap with MAP_FIXED unmaps and maps in one write section), so
 * that a real program survives it; `mprotect` adds and removes PROT_EXEC, which write-locks the VMA and takes away
 * nothing that workers need.
 */
#ifndef FB_WRITER_H
#define FB_WRITER_H

#include "fb_fault.h"

#define FB_BESIDE_BYTES (256ul << 10)

static inline int fb_writer_turn(const struct fb_spec *s, const struct fb_space *a, uint64_t n)
{
	const struct fb_vma *v = &a->vma[n % (uint64_t)a->vmas];

	switch (s->writer_op) {
	case FB_TARGET:
		return fb_map(s, v);
	case FB_MPROTECT:
		return mprotect(v->base, v->len, PROT_READ | PROT_WRITE | (n / (uint64_t)a->vmas % 2 ? 0 : PROT_EXEC)) ?
		       -errno : 0;
	case FB_FSYNC:
		return fsync(s->fsync_fd) ? -errno : 0;
	default: {
		char *p = mmap(NULL, FB_BESIDE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return -errno;
		for (size_t o = 0; o < FB_BESIDE_BYTES; o += 4096)
			p[o] = 1;	/* gives munmap something to tear down */
		return munmap(p, FB_BESIDE_BYTES) ? -errno : 0;
	}
	}
}

static inline void fb_writer_run(const struct fb_spec *s, const struct fb_space *a, struct fb_control *c,
				 struct fb_writer *w, int cpu)
{
	struct fb_counters counters;
	struct rusage before, after;
	uint64_t due = fb_clock(CLOCK_MONOTONIC), n = 0;

	fb_pin(cpu);
	fb_counters_open(&counters, s->ids);
	if (!fb_gate(c, 0) || !fb_gate(c, 1))
		goto out;
	fb_usage(&before);
	while (!atomic_load(&c->finished) && !atomic_load(&c->failed)) {
		uint64_t t0 = fb_clock(CLOCK_MONOTONIC), took;
		bool counting = atomic_load(&c->open[2]);	/* the window is over */
		int rc;

		if (counting)
			fb_counters_run(&counters, 1);
		rc = fb_writer_turn(s, a, n++);
		if (counting)
			fb_counters_run(&counters, 0);
		if (rc) {
			fb_fail(c, &w->error, -rc);
			break;
		}
		took = fb_clock(CLOCK_MONOTONIC) - t0;
		if (took > w->wait_ns_max)
			w->wait_ns_max = took;
		w->ops++;
		w->ops_window += !counting;
		if (s->writer_interval_ns) {
			due += s->writer_interval_ns;
			struct timespec t = { .tv_sec = (time_t)(due / 1000000000ull), .tv_nsec = (long)(due % 1000000000ull) };

			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
		}
	}
	fb_usage(&after);
	w->vcsw = after.ru_nvcsw - before.ru_nvcsw;
out:
	fb_counters_read(&counters, w->count);
	fb_counters_close(&counters);
}

#endif
