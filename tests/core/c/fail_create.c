/* SPDX-License-Identifier: MIT */
/* Linked with --wrap=pthread_create: the FAIL_AT-th task cannot be started (the watchdog, without attributes, can). */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	static int created;
	const char *at = getenv("FAIL_AT");

	if (attr && at && ++created == atoi(at))
		return EAGAIN;
	return __real_pthread_create(thread, attr, fn, arg);
}
