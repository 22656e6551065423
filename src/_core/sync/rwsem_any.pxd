# SPDX-License-Identifier: MIT
"""sync/rwsem_any.h: mmap_lock with a choice (the rwsem= knob)."""
from _core.sync.task cimport fb_task

cdef extern from "sync/rwsem_any.h" nogil:
    int FB_RWSEM_KERNEL
    int FB_RWSEM_NAIVE
    int FB_RWSEM_PTHREAD

    struct fb_rwsem_any:
        pass

    int fb_any_init(fb_rwsem_any *s, int kind)
    void fb_any_destroy(fb_rwsem_any *s, int kind)
    bint fb_any_down_read(fb_rwsem_any *s, int kind, fb_task *me)
    bint fb_any_down_read_trylock(fb_rwsem_any *s, int kind, fb_task *me)
    void fb_any_up_read(fb_rwsem_any *s, int kind, fb_task *me)
    bint fb_any_down_write(fb_rwsem_any *s, int kind, fb_task *me)
    bint fb_any_down_write_trylock(fb_rwsem_any *s, int kind, fb_task *me)
    void fb_any_up_write(fb_rwsem_any *s, int kind, fb_task *me)
    void fb_any_downgrade_write(fb_rwsem_any *s, int kind, fb_task *me)
    bint fb_any_at_rest(fb_rwsem_any *s, int kind)
