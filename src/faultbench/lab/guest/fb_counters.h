/* SPDX-License-Identifier: MIT */
/*
 * Counting what one thread does in the kernel: a group of perf tracepoint counters that only runs while the thread
 * touches memory.
 *
 * mmap_lock_acquire_returned with success==1 and not mmap_lock_start_locking: the fault path try-locks before it locks,
 * so attempts exceed acquisitions as soon as there is a writer.
 *
 * A counter that could not be opened stays closed and keeps its errno: "not counted" and "counted zero" must never look
 * alike. Tracepoint ids come from the caller, who may read tracefs (0 = no such tracepoint here).
 */
#ifndef FB_COUNTERS_H
#define FB_COUNTERS_H

#ifndef _GNU_SOURCE
#error "needs -D_GNU_SOURCE"
#endif
#include <errno.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum fb_counter {
	FB_C_READS,	/* mmap_lock:mmap_lock_acquire_returned write==0 && success==1 */
	FB_C_ATTEMPTS,	/* mmap_lock:mmap_lock_start_locking write==0 */
	FB_C_WRITES,	/* mmap_lock:mmap_lock_acquire_returned write==1 && success==1 */
	FB_C_TRAPS,	/* exceptions:page_fault_user */
	FB_C_DAX_PMD,	/* fs_dax:dax_pmd_fault_done */
	FB_C_NR
};

static const char *const fb_counter_event[FB_C_NR] = {
	"mmap_lock/mmap_lock_acquire_returned", "mmap_lock/mmap_lock_start_locking", "mmap_lock/mmap_lock_acquire_returned",
	"exceptions/page_fault_user", "fs_dax/dax_pmd_fault_done",
};

static const char *const fb_counter_filter[FB_C_NR] = {
	"write==0 && success==1", "write==0", "write==1 && success==1", NULL, NULL,
};

struct fb_counters {
	int fd[FB_C_NR];	/* -1: not counted */
	int error[FB_C_NR];	/* errno of why not */
	int leader;		/* the group's first; -1: none */
};

static inline int fb_counter_open(int id, const char *filter, int leader)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr), .type = PERF_TYPE_TRACEPOINT, .config = id, .disabled = leader < 0,
	};
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, leader, PERF_FLAG_FD_CLOEXEC);

	if (fd >= 0 && filter && ioctl(fd, PERF_EVENT_IOC_SET_FILTER, filter)) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

/* Opens what can be opened for the calling thread; `ids` has FB_C_NR tracepoint ids, 0 for none, <0 for -errno. */
static inline void fb_counters_open(struct fb_counters *c, const int *ids)
{
	c->leader = -1;
	for (int i = 0; i < FB_C_NR; i++) {
		c->fd[i] = -1;
		c->error[i] = ids[i] < 0 ? -ids[i] : ENOENT;
		if (ids[i] <= 0)
			continue;
		c->fd[i] = fb_counter_open(ids[i], fb_counter_filter[i], c->leader);
		c->error[i] = c->fd[i] < 0 ? errno : 0;
		if (c->fd[i] >= 0 && c->leader < 0)
			c->leader = c->fd[i];
	}
}

static inline void fb_counters_run(const struct fb_counters *c, int on)
{
	if (c->leader >= 0)
		ioctl(c->leader, on ? PERF_EVENT_IOC_ENABLE : PERF_EVENT_IOC_DISABLE, PERF_IOC_FLAG_GROUP);
}

static inline void fb_counters_reset(const struct fb_counters *c)
{
	if (c->leader >= 0)
		ioctl(c->leader, PERF_EVENT_IOC_RESET, PERF_IOC_FLAG_GROUP);
}

/* Counts so far, -errno where nothing is counted. */
static inline void fb_counters_read(struct fb_counters *c, int64_t *out)
{
	for (int i = 0; i < FB_C_NR; i++) {
		uint64_t value;

		if (c->fd[i] >= 0 && read(c->fd[i], &value, sizeof(value)) == sizeof(value))
			out[i] = (int64_t)value;
		else
			out[i] = -(c->error[i] ? c->error[i] : EIO);
	}
}

static inline void fb_counters_close(struct fb_counters *c)
{
	for (int i = FB_C_NR - 1; i >= 0; i--)
		if (c->fd[i] >= 0)
			close(c->fd[i]);
}

#endif
