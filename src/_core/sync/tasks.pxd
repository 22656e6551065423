# SPDX-License-Identifier: MIT
"""sync/tasks.h: set-up of the tasks of a trial, with their RCU."""
from libc.stdint cimport uint32_t
from _core.sync.arena cimport fb_arena
from _core.sync.task cimport fb_task

cdef extern from "sync/tasks.h" nogil:
    uint32_t FB_TASKS_MAX
    fb_task *fb_tasks_create(fb_arena *a, uint32_t nr)
    void fb_tasks_destroy(fb_task *tasks)
