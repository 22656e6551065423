# SPDX-License-Identifier: MIT
"""sync/qspinlock.h: spinlock_t."""
from libc.stdint cimport uint32_t
from _core.sync.task cimport fb_task

cdef extern from "sync/qspinlock.h" nogil:
    struct fb_spinlock:
        uint32_t val

    void fb_spin_lock(fb_spinlock *l, fb_task *me)
    bint fb_spin_trylock(fb_spinlock *l)
    void fb_spin_unlock(fb_spinlock *l)
    bint fb_spin_is_locked(const fb_spinlock *l)
