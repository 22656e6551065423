# SPDX-License-Identifier: MIT
"""sync/task.h: a worker or writer on whatever machine. What is constant or the task's own is plain memory."""
from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t

cdef extern from "sync/atomic.h" nogil:
    struct fb_rcu
    uint32_t FB_PERCPU_SLOTS

    struct fb_task_shared:
        uint64_t percpu[24]

    struct fb_task:
        uint32_t id
        int32_t cpu
        fb_task_shared *sh
        fb_task *all
        uint32_t nr
        uint16_t kind
        uint16_t crowded
        fb_rcu *rcu
        void *arg
        uint64_t parks
        uint64_t contended
        uint64_t wait_ns
        void (*on_step)(fb_task *me, int step, const void *obj) noexcept nogil
