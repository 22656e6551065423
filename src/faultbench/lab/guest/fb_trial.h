/* SPDX-License-Identifier: MIT */
/*
 * One trial of real faults: address spaces (this process's, or one process each), their threads, and the conductor that
 * opens and closes the passes. No worker is ever left behind: children die with their parent, and a failure opens every
 * gate with `failed` set.
 */
#ifndef FB_TRIAL_H
#define FB_TRIAL_H

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "fb_fault.h"
#include "fb_writer.h"

struct fb_trial {
	struct fb_spec spec;
	struct fb_control *control;	/* shared memory, with the workers and writers behind it */
	struct fb_worker *worker;
	struct fb_writer *writer;
	size_t shared_bytes;
};

struct fb_thread {
	struct fb_trial *trial;
	struct fb_space *space;
	pthread_t id;
	int index;		/* worker, or workers + writer */
	bool started;
};

/* An empty slice, then everybody at gate g. */
static inline int fb_ready(struct fb_trial *t, struct fb_place *at, int g)
{
	int rc = fb_refill(at);

	if (rc)
		return rc;
	return fb_gate(t->control, g) ? 0 : -ECANCELED;
}

/* Everything that the passes use is used once, on memory of our own, so that only the touches fault later. */
static inline int fb_rehearse(const struct fb_spec *s, struct fb_worker *w, struct fb_counters *counters)
{
	struct fb_spec small = { .access = s->access, .step = 4096, .slice = 8192 };
	struct fb_pass scrap = { 0 };
	char *p = mmap(NULL, small.slice, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct fb_place at = { .spec = &small, .base = p, .next = p, .end = p + small.slice, .out = w };
	int rc;

	if (p == MAP_FAILED)
		return -errno;
	rc = fb_run_pass(&at, &scrap, 5, NULL, counters);
	fb_counters_reset(counters);
	munmap(p, small.slice);
	return rc;
}

static inline int fb_worker_passes(struct fb_trial *t, struct fb_place *at, struct fb_counters *counters)
{
	const struct fb_spec *s = at->spec;
	struct fb_worker *w = at->out;
	int rc = fb_rehearse(s, w, counters);

	if (!rc && !s->fresh)
		rc = fb_refill(at);	/* memory of the caller's may be present */
	if (!rc && !s->fresh)
		rc = fb_probe(at);
	if (!rc)
		rc = fb_ready(t, at, 0);
	if (!rc && !s->fresh && (s->warmup_faults || s->duration_ns))
		rc = fb_run_pass(at, &w->warm, s->duration_ns ? 0 : s->warmup_faults, &t->control->stop[FB_P_WARM], NULL);
	if (!rc)
		rc = fb_ready(t, at, 1);
	if (!rc && !s->fresh)
		rc = fb_run_pass(at, &w->window, s->duration_ns ? 0 : s->faults, &t->control->stop[FB_P_WINDOW], NULL);
	if (!rc)
		rc = fb_ready(t, at, 2);
	if (!rc && (s->fresh || (s->count && w->window.touches)))
		rc = fb_run_pass(at, &w->counted, s->fresh ? s->faults : w->window.touches, NULL, counters);
	if (!rc)
		rc = fb_ready(t, at, 3);
	atomic_store(&t->control->finished, 1);
	return rc;
}

static inline void *fb_thread_main(void *arg)
{
	struct fb_thread *me = arg;
	struct fb_trial *t = me->trial;
	const struct fb_spec *s = &t->spec;

	if (me->index >= s->workers) {
		fb_writer_run(s, me->space, t->control, &t->writer[me->index - s->workers], s->cpus[me->index]);
		return NULL;
	}
	struct fb_worker *w = &t->worker[me->index];
	const struct fb_vma *v = &me->space->vma[me->index % s->vmas];
	struct fb_place at = { .spec = s, .base = fb_slice(s, me->space, me->index), .out = w };
	struct fb_counters counters;
	int rc;

	at.next = at.base;
	at.end = at.base + s->slice;
	at.whole = (struct fb_vma){ at.base, s->slice, v->offset + (uint64_t)(at.base - v->base), v->fd };
	fb_pin(s->cpus[me->index]);
	fb_counters_open(&counters, s->ids);
	rc = fb_worker_passes(t, &at, &counters);
	fb_counters_read(&counters, w->count);
	fb_counters_close(&counters);
	if (rc && rc != -ECANCELED)
		fb_fail(t->control, &w->error, -rc);
	return NULL;
}

/* Runs the tasks of address space `mm` in this process; returns when they have ended. */
static inline int fb_space_run(struct fb_trial *t, int mm, struct fb_thread *threads, struct fb_space *space)
{
	const struct fb_spec *s = &t->spec;
	int tasks = s->workers + s->writers, rc = 0;

	for (int i = 0; i < tasks && !rc; i++) {
		int of = i < s->workers ? i % s->mms : (i - s->workers) % s->mms;

		if (of != mm)
			continue;
		threads[i] = (struct fb_thread){ .trial = t, .space = space, .index = i };
		rc = -pthread_create(&threads[i].id, NULL, fb_thread_main, &threads[i]);
		threads[i].started = !rc;
	}
	if (rc)
		atomic_store(&t->control->failed, 1);
	return rc;
}

static inline void fb_space_join(struct fb_trial *t, struct fb_thread *threads)
{
	for (int i = 0; i < t->spec.workers + t->spec.writers; i++)
		if (threads[i].started)
			pthread_join(threads[i].id, NULL);
}

static inline void fb_sleep(uint64_t ns)
{
	struct timespec t = { .tv_sec = (time_t)(ns / 1000000000ull), .tv_nsec = (long)(ns % 1000000000ull) };

	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &t) == EINTR)
		;
}

/* Opens and closes the timed passes. */
static inline void fb_conduct(struct fb_trial *t)
{
	struct fb_control *c = t->control;

	for (int g = 0; g < 2 && fb_gate(c, g); g++) {
		if (!t->spec.duration_ns)
			continue;
		fb_sleep(g ? t->spec.duration_ns : t->spec.warmup_ns);
		atomic_store(&c->stop[g], 1);
	}
}

static inline void fb_space_process(struct fb_trial *t, int mm, struct fb_thread *threads, pid_t parent)
{
	struct fb_space space = { 0 };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	int rc = fb_space_make(&space, &t->spec);

	if (!rc)
		rc = fb_space_run(t, mm, threads, &space);
	if (rc)
		fb_fail(t->control, &t->worker[mm].error, -rc);
	fb_space_join(t, threads);
	_exit(0);
}

/* One process each; a child that dies fails the trial instead of hanging it. Runs until all have ended: 0 or -errno. */
static inline int fb_processes(struct fb_trial *t, struct fb_thread *threads)
{
	pid_t *child = calloc((size_t)t->spec.mms, sizeof(*child)), parent = getpid();
	int left = 0, rc = child ? 0 : -ENOMEM;
	pthread_t conductor;
	bool conducting = false;

	for (int mm = 0; mm < t->spec.mms && !rc; mm++) {
		child[mm] = fork();
		if (!child[mm])
			fb_space_process(t, mm, threads, parent);
		if (child[mm] < 0)
			rc = -errno;
		else
			left++;
	}
	if (!rc) {
		rc = -pthread_create(&conductor, NULL, (void *(*)(void *))(void *)fb_conduct, t);
		conducting = !rc;
	}
	if (rc)
		atomic_store(&t->control->failed, 1);
	while (left) {
		for (int mm = 0; mm < t->spec.mms; mm++) {
			int status;

			if (child[mm] <= 0 || waitpid(child[mm], &status, WNOHANG) != child[mm])
				continue;
			child[mm] = 0;
			left--;
			if (!WIFEXITED(status) || WEXITSTATUS(status)) {
				atomic_store(&t->control->failed, 1);
				rc = rc ? rc : -ECHILD;
			}
		}
		fb_sleep(1000000);
	}
	if (conducting)
		pthread_join(conductor, NULL);
	free(child);
	return rc;
}

/* Allocates what tasks share: 0 or -errno. */
static inline int fb_trial_init(struct fb_trial *t)
{
	const struct fb_spec *s = &t->spec;
	uint32_t workers = (uint32_t)s->workers, all = workers + (uint32_t)s->writers + 1;
	char *p;

	t->shared_bytes = sizeof(*t->control) + workers * sizeof(*t->worker) + (size_t)s->writers * sizeof(*t->writer);
	p = mmap(NULL, t->shared_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	t->control = (void *)p;
	t->worker = (void *)(t->control + 1);
	t->writer = (void *)(t->worker + workers);
	for (int g = 0; g < FB_GATES; g++)
		t->control->parties[g] = g < 2 ? all : workers;
	return 0;
}

static inline void fb_trial_free(struct fb_trial *t)
{
	if (t->control)
		munmap(t->control, t->shared_bytes);
	t->control = NULL;
}

/* Runs an initialised trial: 0, -errno, or -ECHILD when a process of it died. */
static inline int fb_trial_run(struct fb_trial *t)
{
	struct fb_thread *threads = calloc((size_t)(t->spec.workers + t->spec.writers), sizeof(*threads));
	int rc;

	if (!threads)
		return -ENOMEM;
	if (t->spec.mms > 1) {
		rc = fb_processes(t, threads);
	} else {
		struct fb_space space = { 0 };

		rc = fb_space_make(&space, &t->spec);
		if (!rc)
			rc = fb_space_run(t, 0, threads, &space);
		if (!rc)
			fb_conduct(t);
		fb_space_join(t, threads);
		fb_space_drop(&space);
	}
	free(threads);
	for (int i = 0; i < t->spec.workers && !rc; i++)
		rc = -t->worker[i].error;
	for (int i = 0; i < t->spec.writers && !rc; i++)
		rc = -t->writer[i].error;
	return rc;
}

#endif
