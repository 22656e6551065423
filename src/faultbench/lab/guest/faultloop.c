/* SPDX-License-Identifier: MIT */
/*
 * faultloop - real page faults in the guest: the same loop that faultbench._kernel runs, as a static program.
 *
 * usage: faultloop name=value ... [PATH]
 *   kind=anon|memfd|file   workers= vmas= mms= writers= access=0|1|2 writer_op= private=0|1 sync=0|1 advice=
 *   step= slice= skew= offset= length=   bytes
 *   faults= warmup=   touches per worker   count=0|1   fresh=0|1   store=0|1   read_only=0|1   label=TEXT
 * prints one JSON object on one line.
 *
 *   faultloop punch=1 PATH   takes the second half out of every 2 MiB of a file: its extents are then too short
 *   faultloop hold=1         keeps the tracepoints registered, which else each run pays for twice; never returns
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fb_trial.h"

static int tracepoint_id(const char *event)
{
	char path[160];
	int id = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/tracing/events/%s/id", event);
	f = fopen(path, "r");
	if (!f)
		return -errno;
	if (fscanf(f, "%d", &id) != 1)
		id = -EIO;
	fclose(f);
	return id;
}

/* No whole 2 MiB extent is left. */
static int punch(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return errno;
	for (off_t at = 1 << 20; at < st.st_size; at += 2 << 20)
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 1 << 20))
			return errno;
	fsync(fd);
	return close(fd) ? errno : 0;
}

static int die(const char *label, const char *what, int error)
{
	printf("{\"label\": \"%s\", \"error\": \"%s: %s\"}\n", label, what, strerror(error));
	return 1;
}

static void print_pass(const char *name, const struct fb_pass *p)
{
	printf("\"%s\": {\"touches\": %lu, \"faults\": %ld, \"fault_ns\": %lu, \"cpu_ns\": %lu, \"refill_ns\": %lu, "
	       "\"start_ns\": %lu, \"end_ns\": %lu, \"majflt\": %ld, \"vcsw\": %ld, \"ivcsw\": %ld}, ",
	       name, p->touches, p->faults, p->fault_ns, p->cpu_ns, p->refill_ns, p->start_ns, p->end_ns, p->majflt,
	       p->vcsw, p->ivcsw);
}

static void print_counts(const int64_t *count)
{
	printf("\"count\": [");
	for (int c = 0; c < FB_C_NR; c++)
		printf("%s%ld", c ? ", " : "", count[c]);
	printf("]");
}

int main(int argc, char **argv)
{
	int ids[FB_C_NR] = { 0 }, fd = -1, count = 1, punching = 0, hold = 0, rc;
	const char *kind = "file", *label = "", *path = NULL;
	static int cpus[256];
	struct fb_trial t = { .spec = { .workers = 1, .vmas = 1, .mms = 1, .access = FB_WRITE, .step = FB_PMD_SIZE,
					.slice = 64 * FB_PMD_SIZE, .faults = 256, .warmup_faults = 8 } };
	struct fb_spec *s = &t.spec;
	const struct { const char *name; int *to; } ints[] = {
		{ "workers", &s->workers }, { "vmas", &s->vmas }, { "mms", &s->mms }, { "writers", &s->writers },
		{ "access", &s->access }, { "writer_op", &s->writer_op }, { "private", &s->map_private },
		{ "sync", &s->sync }, { "advice", &s->advice }, { "count", &count }, { "fresh", &s->fresh },
		{ "store", &s->store }, { "read_only", &s->read_only },
		{ "punch", &punching }, { "hold", &hold },
	};
	const struct { const char *name; uint64_t *to; } words[] = {
		{ "step", &s->step }, { "slice", &s->slice }, { "skew", &s->skew }, { "offset", &s->offset },
		{ "length", &s->length }, { "faults", &s->faults }, { "warmup", &s->warmup_faults },
	};

	for (int i = 1; i < argc; i++) {
		char *value = strchr(argv[i], '=');

		if (!value) {
			path = argv[i];
			continue;
		}
		*value++ = 0;
		for (size_t k = 0; k < sizeof(ints) / sizeof(*ints); k++)
			if (!strcmp(argv[i], ints[k].name))
				*ints[k].to = atoi(value);
		for (size_t k = 0; k < sizeof(words) / sizeof(*words); k++)
			if (!strcmp(argv[i], words[k].name))
				*words[k].to = strtoull(value, NULL, 0);
		if (!strcmp(argv[i], "kind"))
			kind = value;
		if (!strcmp(argv[i], "label"))
			label = value;
	}
	if (punching) {
		rc = path ? punch(path) : EINVAL;
		return rc ? die("punch", path ? path : "no path", rc) : 0;
	}
	if (s->workers < 1 || s->workers + s->writers > 256 || s->vmas < 1 || s->vmas > s->workers || s->mms < 1)
		return die(label, "workers, vmas, mms", EINVAL);
	if (hold) {
		kind = "anon";
	} else if (!strcmp(kind, "memfd")) {
		fd = memfd_create("faultloop", 0);
		if (fd < 0 || ftruncate(fd, (off_t)(s->slice * (uint64_t)s->workers + s->length)))
			return die(label, "memfd", errno);
	} else if (!strcmp(kind, "file")) {
		fd = path ? open(path, (s->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC) : -1;
		if (fd < 0)
			return die(label, path ? path : "no path", errno);
	}
	for (int i = 0; i < 256; i++)
		cpus[i] = -1;
	s->nfds = fd >= 0;
	s->fds = &fd;
	s->fsync_fd = fd;
	s->cpus = cpus;
	s->count = count;
	s->ids = ids;
	for (int c = 0; c < FB_C_NR && count; c++)
		ids[c] = tracepoint_id(fb_counter_event[c]);
	if (hold) {
		struct fb_counters counters;

		fb_counters_open(&counters, ids);
		for (;;)
			pause();
	}
	rc = fb_trial_init(&t);
	if (!rc)
		rc = fb_trial_run(&t);
	if (rc)
		return die(label, "trial", -rc);
	printf("{\"label\": \"%s\", \"worker\": [", label);
	for (int i = 0; i < s->workers; i++) {
		const struct fb_worker *w = &t.worker[i];

		printf("%s{", i ? ", " : "");
		print_pass("window", &w->window);
		print_pass("counted", &w->counted);
		printf("\"probe_bytes\": %lu, \"probe_faults\": %ld, ", w->probe_bytes, w->probe_faults);
		print_counts(w->count);
		printf("}");
	}
	printf("], \"writer\": [");
	for (int i = 0; i < s->writers; i++) {
		printf("%s{\"ops\": %lu, \"wait_ns_max\": %lu, \"vcsw\": %ld, ", i ? ", " : "", t.writer[i].ops_window,
		       t.writer[i].wait_ns_max, t.writer[i].vcsw);
		print_counts(t.writer[i].count);
		printf("}");
	}
	printf("]}\n");
	fb_trial_free(&t);
	return 0;
}
