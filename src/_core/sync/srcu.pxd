# SPDX-License-Identifier: MIT
"""sync/srcu.h: SRCU; takes two slots of task.percpu[], `slot` and `slot + 1`."""
from libc.stdint cimport uint32_t
from _core.sync.task cimport fb_task

cdef extern from "sync/srcu.h" nogil:
    struct fb_srcu:
        pass

    void fb_srcu_init(fb_srcu *s, uint32_t slot)
    uint32_t fb_srcu_read_lock(fb_srcu *s, fb_task *me)
    void fb_srcu_read_unlock(fb_srcu *s, uint32_t idx, fb_task *me)
    void fb_synchronize_srcu(fb_srcu *s, fb_task *me)
    bint fb_srcu_at_rest(const fb_srcu *s)
