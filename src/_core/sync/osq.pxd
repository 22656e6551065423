# SPDX-License-Identifier: MIT
"""sync/osq.h: the optimistic spin queue."""
from libc.stdint cimport uint32_t
from _core.sync.task cimport fb_task

cdef extern from "sync/osq.h" nogil:
    struct fb_osq:
        uint32_t tail

    bint fb_osq_lock(fb_osq *q, fb_task *me)
    void fb_osq_unlock(fb_osq *q, fb_task *me)
