/* SPDX-License-Identifier: MIT */
/*
 * Mappings to fault: placed at chosen addresses inside a reservation, a gap between any two, so that the kernel can
 * neither merge them nor see two of them as one VMA.
 *
 *	reservation  |<align>| VMA 0: slices of its workers |<gap>| VMA 1 ... |
 *
 * Slices of workers never share a huge-page entry. File offsets follow the worker, not the VMA, so that private and
 * shared VMAs fault the same part of the file.
 */
#ifndef FB_MAPPING_H
#define FB_MAPPING_H

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifndef MAP_SYNC
#define MAP_SYNC 0x080000
#endif
#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 0x03
#endif

#define FB_PMD_SIZE (2ul << 20)
#define FB_PUD_SIZE (1ul << 30)

enum fb_advice { FB_ADVICE_NONE, FB_ADVICE_HUGE, FB_ADVICE_NOHUGE, FB_ADVICE_RANDOM };
enum fb_access { FB_READ, FB_WRITE, FB_WP };	/* wp: read, then write */
enum fb_writer_op { FB_BESIDE, FB_TARGET, FB_MPROTECT, FB_FSYNC };

struct fb_spec {
	int workers, vmas, mms, writers;
	int access, writer_op;
	int map_private, sync, advice;
	int read_only;		/* map without PROT_WRITE: a file we may not write */
	int store;		/* write touches change the byte: never on a user's file */
	char *existing;		/* fault this memory of ours (vdso, userfaultfd) and map nothing; one address space */
	int no_fixed;		/* an arena looks at what is mapped there: unmap first */
	int fsync_fd;
	int nfds;
	const int *fds;		/* VMA k maps fds[k % nfds]; none: anonymous */
	uint64_t step;		/* bytes between touches */
	uint64_t slice;		/* bytes of one worker */
	uint64_t skew;		/* added to the mapping's address: a misaligned mapping */
	uint64_t offset;	/* added to the file offset */
	uint64_t length;	/* bytes mapped beyond the slices (end-of-file cases); 0: none */
	uint64_t duration_ns, warmup_ns, faults, warmup_faults;	/* faults are touches here */
	uint64_t writer_interval_ns;
	int count;		/* a second pass with the counters on */
	int fresh;		/* only the counted pass, on mappings that nobody touched: no probe, no window */
	const int *ids;		/* FB_C_NR tracepoint ids */
	const int *cpus;	/* workers + writers; -1: unpinned */
};

struct fb_vma {
	char *base;
	uint64_t len;
	uint64_t offset;
	int fd;
};

static inline int fb_map_flags(const struct fb_spec *s, int fd)
{
	if (fd < 0)
		return MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	if (s->sync)
		return MAP_SHARED_VALIDATE | MAP_SYNC;
	return s->map_private ? MAP_PRIVATE : MAP_SHARED;
}

/* Maps `v` at its base, over whatever is there: 0, or -errno. */
static inline int fb_map(const struct fb_spec *s, const struct fb_vma *v)
{
	static const int advice[] = { MADV_NORMAL, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_RANDOM };
	int prot = s->read_only ? PROT_READ : PROT_READ | PROT_WRITE, flags = fb_map_flags(s, v->fd) | MAP_FIXED;

	if (s->existing)
		return -EOPNOTSUPP;	/* not ours to replace */
	if (s->no_fixed)
		munmap(v->base, v->len);
	if (mmap(v->base, v->len, prot, flags, v->fd, (off_t)v->offset) == MAP_FAILED)
		return -errno;
	if (s->advice != FB_ADVICE_NONE && madvise(v->base, v->len, advice[s->advice]))
		return -errno;
	return 0;
}

struct fb_space {		/* one address space's mappings */
	char *reservation;
	uint64_t reserved;
	int vmas;
	struct fb_vma *vma;
};

static inline int fb_workers_of(const struct fb_spec *s, int vma)
{
	return (s->workers - vma + s->vmas - 1) / s->vmas;
}

/* Where worker i's slice begins: its VMA is i mod vmas, its place in it i div vmas. */
static inline char *fb_slice(const struct fb_spec *s, const struct fb_space *a, int worker)
{
	return a->vma[worker % s->vmas].base + (uint64_t)(worker / s->vmas) * s->slice;
}

/* First worker's offset in file `k % nfds`: files are cut into consecutive VMAs. */
static inline uint64_t fb_vma_offset(const struct fb_spec *s, int vma)
{
	uint64_t slices = 0;

	for (int k = s->nfds ? vma % s->nfds : 0; s->nfds && k < vma; k += s->nfds)
		slices += (uint64_t)fb_workers_of(s, k);
	return s->offset + slices * s->slice;
}

/* Makes every VMA of one address space: 0, or -errno. */
static inline int fb_space_make(struct fb_space *a, const struct fb_spec *s)
{
	uint64_t align = s->step >= FB_PUD_SIZE ? FB_PUD_SIZE : FB_PMD_SIZE, at;
	int rc = 0;

	a->vmas = s->vmas;
	a->vma = calloc((size_t)s->vmas, sizeof(*a->vma));
	if (!a->vma)
		return -ENOMEM;
	if (s->existing) {
		*a->vma = (struct fb_vma){ s->existing, s->slice * (uint64_t)s->workers, 0, -1 };
		return 0;
	}
	a->reserved = 2 * FB_PUD_SIZE;	/* whole 1 GiB ranges: no neighbour has filled a PUD entry in */
	for (int k = 0; k < s->vmas; k++)
		a->reserved += (uint64_t)fb_workers_of(s, k) * s->slice + s->length + 2 * align + s->skew;
	a->reservation = mmap(NULL, a->reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (a->reservation == MAP_FAILED) {
		free(a->vma);
		a->vma = NULL;
		return -errno;
	}
	at = ((uint64_t)a->reservation + FB_PUD_SIZE - 1) & ~(FB_PUD_SIZE - 1);
	for (int k = 0; k < s->vmas && !rc; k++) {
		struct fb_vma *v = &a->vma[k];

		v->base = (char *)at + s->skew;
		v->len = (uint64_t)fb_workers_of(s, k) * s->slice + s->length;
		v->fd = s->nfds ? s->fds[k % s->nfds] : -1;
		v->offset = fb_vma_offset(s, k);
		rc = fb_map(s, v);
		at = ((uint64_t)v->base + v->len + 2 * align - 1) & ~(align - 1);	/* a gap of at least one entry */
	}
	return rc;
}

static inline void fb_space_drop(struct fb_space *a)
{
	if (a->vma && a->reserved)
		munmap(a->reservation, a->reserved);
	free(a->vma);
	a->vma = NULL;
}

#endif
