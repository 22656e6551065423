# SPDX-License-Identifier: MIT
"""sync/percpu_rwsem.h: struct percpu_rw_semaphore; `slot` of task.percpu[] is the caller's to give out."""
from libc.stdint cimport uint32_t
from _core.sync.task cimport fb_task

cdef extern from "sync/percpu_rwsem.h" nogil:
    struct fb_percpu_rwsem:
        pass
    uint32_t FB_PERCPU_SLOTS

    void fb_percpu_rwsem_init(fb_percpu_rwsem *s, uint32_t slot)
    void fb_percpu_down_read(fb_percpu_rwsem *s, fb_task *me)
    void fb_percpu_up_read(fb_percpu_rwsem *s, fb_task *me)
    void fb_percpu_down_write(fb_percpu_rwsem *s, fb_task *me)
    void fb_percpu_up_write(fb_percpu_rwsem *s, fb_task *me)
    bint fb_percpu_rwsem_at_rest(const fb_percpu_rwsem *s)
