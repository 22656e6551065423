/* SPDX-License-Identifier: MIT */
/* Included before everything: makes the acquire, release or both of one line of one header relaxed. */
#define FB_WEAK_HERE (__LINE__ == FB_WEAKEN_LINE && !__builtin_strcmp(__FILE__, FB_WEAKEN_FILE))
#define FB_ACQUIRE (FB_WEAK_HERE ? __ATOMIC_RELAXED : __ATOMIC_ACQUIRE)
#define FB_RELEASE (FB_WEAK_HERE ? __ATOMIC_RELAXED : __ATOMIC_RELEASE)
/* One half at a time: FB_WEAKEN_TO is the half that is left. */
#define FB_ACQ_REL (FB_WEAK_HERE ? FB_WEAKEN_TO : __ATOMIC_ACQ_REL)
