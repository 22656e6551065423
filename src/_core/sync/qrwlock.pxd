# SPDX-License-Identifier: MIT
"""sync/qrwlock.h: rwlock_t."""
from _core.sync.task cimport fb_task

cdef extern from "sync/qrwlock.h" nogil:
    struct fb_qrwlock:
        pass

    void fb_read_lock(fb_qrwlock *l, fb_task *me)
    void fb_read_unlock(fb_qrwlock *l)
    void fb_write_lock(fb_qrwlock *l, fb_task *me)
    void fb_write_unlock(fb_qrwlock *l)
    bint fb_qrwlock_at_rest(const fb_qrwlock *l)
