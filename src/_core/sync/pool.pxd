# SPDX-License-Identifier: MIT
"""sync/pool.h: objects of one size from the arena, taken and given back during a trial."""
from libc.stdint cimport uint32_t, uint64_t
from _core.sync.arena cimport fb_arena
from _core.sync.task cimport fb_task

cdef extern from "sync/pool.h" nogil:
    struct fb_pool

    fb_pool *fb_pool_create(fb_arena *a, uint32_t nr_tasks, size_t size, size_t align, size_t link_off,
                            uint64_t capacity)
    void *fb_pool_alloc(fb_pool *pool, fb_task *me)
    void fb_pool_free(fb_pool *pool, void *p, fb_task *me)
    uint64_t fb_pool_live(fb_pool *pool)
    uint64_t fb_pool_slack(uint64_t nr_tasks)
