# SPDX-License-Identifier: MIT
"""sync/rcuwait.h: one task sleeps until a word has a value."""
from libc.stdint cimport uint32_t, uint64_t
from _core.sync.task cimport fb_task

cdef extern from "sync/rcuwait.h" nogil:
    struct fb_rcuwait:
        pass

    void fb_rcuwait_wait_u32(fb_rcuwait *w, uint32_t *p, uint32_t want, fb_task *me)
    void fb_rcuwait_wait_u64(fb_rcuwait *w, uint64_t *p, uint64_t want, fb_task *me)
    void fb_rcuwait_wake(fb_rcuwait *w)
    bint fb_rcuwait_at_rest(const fb_rcuwait *w)
