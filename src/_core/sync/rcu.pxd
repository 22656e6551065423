# SPDX-License-Identifier: MIT
"""sync/rcu.h: RCU by quiescent states; a task's function begins online and ends offline."""
from libc.stdint cimport uint64_t
from _core.sync.task cimport fb_rcu, fb_task

cdef extern from "sync/rcu.h" nogil:
    void fb_rcu_online(fb_task *me)
    void fb_rcu_offline(fb_task *me)
    void fb_rcu_read_lock(fb_task *me)
    void fb_rcu_read_unlock(fb_task *me)
    void fb_rcu_quiescent(fb_task *me)
    bint fb_schedule(fb_task *me, uint64_t timeout_ns)
    uint64_t fb_rcu_snapshot(fb_rcu *rcu)
    bint fb_rcu_elapsed(fb_rcu *rcu, uint64_t cookie, fb_task *me)
    void fb_synchronize_rcu(fb_task *me)
