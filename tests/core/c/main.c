/* SPDX-License-Identifier: MIT */
/* The torture's main: arguments, one run through the machine, the watchdog, results. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "torture.h"

struct fb_arena torture_arena;
static struct torture *tortures;
static const struct torture *running;
static struct torture_args args = {.seconds = 0.3, .readers = 2, .writers = 2, .hold = 64, .seed = 1, .rounds = 1};

void torture_register(struct torture *t)
{
	t->next = tortures;
	tortures = t;
}

void torture_fail(char property, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fprintf(stderr, "violated %c: seed %llu: ", property, (unsigned long long)args.seed);
	vfprintf(stderr, format, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	_exit(1);
}

void torture_report(const char *key, uint64_t value) { printf("%s=%llu ", key, (unsigned long long)value); }

static bool more(struct fb_task *me)
{
	if (args.ops)
		return torture_of(me)->ops < args.ops;
	return fb_window(me) != FB_WINDOW_CLOSED;
}

static void body(struct fb_task *me)
{
	void (*op)(struct fb_task *) = me->id < args.readers ? running->reader : running->writer;

	fb_rcu_online(me);
	while (more(me)) {
		op(me);
		torture_of(me)->ops++;
		if (args.think)
			fb_work(torture_random(me) % args.think);
	}
	fb_rcu_offline(me);
}

static bool set(const char *arg)
{
	const char *value = strchr(arg, '=');
	char *end;
	double v;

	if (!value)
		return false;
	v = strtod(value + 1, &end);
	if (*end || v < 0)
		return false;
#define KEY(field) if (!strncmp(arg, #field "=", sizeof(#field))) return args.field = v, true
	KEY(seconds);
	KEY(ops);
	KEY(readers);
	KEY(writers);
	KEY(hold);
	KEY(seed);
	KEY(think);
	KEY(gen);
	KEY(crowd);
	KEY(wrap);
	KEY(rounds);
	return false;
}

#ifdef FB_HAS_PTHREAD
/* A trial that does not end has lost a wake-up or is deadlocked. Plain sleep: it must not depend on what it watches. */
static void *watchdog(void *unused)
{
	const char *grace = getenv("TORTURE_GRACE");

	(void)unused;
	usleep((useconds_t)((args.seconds * (double)args.rounds + (grace ? atof(grace) : 20)) * 1e6));
	fprintf(stderr, "watchdog: %s did not end\n", running->name);
	if (running->dump)
		running->dump();
	_exit(3);
}

static void watch(void)
{
	pthread_t thread;

	if (!pthread_create(&thread, NULL, watchdog, NULL))
		pthread_detach(thread);
}
#else
static void watch(void) {}
#endif

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void report(const struct torture_task *own, uint32_t nr)
{
	uint64_t ops = 0, reads = 0, writes = 0, other = 0, max = 0, min = UINT64_MAX, nr_waits = 0, *waits;

	for (uint32_t i = 0; i < nr; i++) {
		ops += own[i].ops;
		reads += own[i].reads;
		writes += own[i].writes;
		other += own[i].other;
		nr_waits += own[i].nr_waits;
		if (own[i].wait_max_ns > max)
			max = own[i].wait_max_ns;
		if (own[i].ops < min)
			min = own[i].ops;
	}
	torture_report("ops", ops);
	torture_report("reads", reads);
	torture_report("writes", writes);
	torture_report("other", other);
	torture_report("ops_min", min);
	torture_report("wait_max_ns", max);
	waits = malloc((nr_waits + 1) * sizeof(*waits));
	if (waits && nr_waits) {
		uint64_t n = 0;

		for (uint32_t i = 0; i < nr; i++) {
			if (!own[i].nr_waits)
				continue;
			memcpy(waits + n, own[i].waits, own[i].nr_waits * sizeof(*waits));
			n += own[i].nr_waits;
		}
		qsort(waits, n, sizeof(*waits), compare);
		torture_report("wait_p50_ns", waits[n / 2]);
		torture_report("wait_p999_ns", waits[(uint64_t)((double)n * 0.999)]);
	}
	free(waits);
}

static int trial(bool last)
{
	struct fb_run run = {.fn = body, .queued = !args.crowd};
	struct torture_task *own;
	int err;

	run.nr = run.nr_workers = args.readers + args.writers;
	err = fb_arena_init(&torture_arena, (size_t)16 << 20);
	run.tasks = err ? NULL : fb_tasks_create(&torture_arena, run.nr);
	own = aligned_alloc(128, run.nr * sizeof(*own));
	if (!run.tasks || !own) {
		fprintf(stderr, "out of memory\n");
		return 2;
	}
	memset(own, 0, run.nr * sizeof(*own));
	for (uint32_t i = 0; i < run.nr; i++) {
		own[i].rng = (args.seed + 1) * 0x9e3779b97f4a7c15u ^ (i + 1) * 0xd1342543de82ef95u;
		own[i].max_waits = 1 << 16;
		own[i].waits = i < args.readers || !last ? NULL : malloc(own[i].max_waits * sizeof(uint64_t));
		run.tasks[i].arg = &own[i];
	}
	if (running->setup)
		running->setup(&args);
	run.duration_ns = args.ops ? 0 : (uint64_t)(args.seconds * 1e9);
#ifdef SCHED_H
	run.warmup_ns = args.seed;
#endif
	err = fb_machine_run(&run);
	if (err) {
		fprintf(stderr, "started %u of %u tasks: %s\n", run.started, run.nr, strerror(err));
	} else if (running->done) {
		running->done(&args, run.tasks, run.nr, last);
	}
	if (last && !err) {
		report(own, run.nr);
		printf("\n");
	}
	for (uint32_t i = 0; i < run.nr; i++)
		free(own[i].waits);
	free(own);
	fb_tasks_destroy(run.tasks);
	fb_arena_destroy(&torture_arena);
	return err ? 2 : 0;
}

int main(int argc, char **argv)
{
	int err = 0;

	for (const struct torture *t = tortures; argc > 1 && t; t = t->next)
		running = strcmp(t->name, argv[1]) ? running : t;
	for (int i = 2; running && i < argc; i++) {
		if (!set(argv[i]))
			running = NULL;
	}
	if (!running || !(args.readers + args.writers)) {
		fprintf(stderr, "usage: torture NAME [seconds|ops|readers|writers|hold|think|seed|gen|crowd|wrap|rounds=NUMBER …]\n");
		return 2;
	}
	watch();
	for (uint64_t i = 0; i < args.rounds && !err; i++, args.seed++)
		err = trial(i + 1 == args.rounds);
	return err;
}
