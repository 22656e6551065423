# SPDX-License-Identifier: MIT
"""sync/rwsem.h: struct rw_semaphore. A lock call says whether it was contended; the task has the time (wait_ns)."""
from libc.stdint cimport uint64_t
from _core.sync.task cimport fb_task

cdef extern from "sync/rwsem.h" nogil:
    struct fb_rwsem:
        uint64_t count
        uint64_t owner

    void fb_rwsem_init(fb_rwsem *s)
    bint fb_down_read(fb_rwsem *s, fb_task *me)
    bint fb_down_read_trylock(fb_rwsem *s, fb_task *me)
    void fb_up_read(fb_rwsem *s, fb_task *me)
    bint fb_down_write(fb_rwsem *s, fb_task *me)
    bint fb_down_write_trylock(fb_rwsem *s, fb_task *me)
    void fb_up_write(fb_rwsem *s, fb_task *me)
    void fb_downgrade_write(fb_rwsem *s, fb_task *me)
    bint fb_rwsem_is_locked(const fb_rwsem *s)
    bint fb_rwsem_is_write_locked(const fb_rwsem *s)
    bint fb_rwsem_at_rest(const fb_rwsem *s)
