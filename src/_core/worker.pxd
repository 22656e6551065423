# cython: language_level=3
"""One task of a trial: a worker that faults, or a writer. The same on every machine.

A worker walks its slice, entry by entry. When the slice is full it empties it again (refill): its own entries, under
the
ptl only, outside the faults' clock. Between two faults it looks at the window; when that opens or closes it notes
its own
counters, wall clock and CPU time. Nobody else looks at them while it runs.
"""

from libc.stdint cimport uint32_t, uint64_t
from _core.mm.fault cimport *
from _core.mm.locks cimport *
from _core.mm.mm_types cimport *
from _core.mm.trial_types cimport *
from _core.mm.mmap cimport *
from _core.mm.pgtable cimport *
from _core.mm.zap cimport *

cdef enum:
    NAP_NS = 1000000    # a paced writer looks at the window this often


cdef inline void window_open(fb_worker *w) noexcept nogil:
    w.c.parks = w.me.parks
    w.at_open = w.c
    w.refill_ns_open = w.refill_ns
    w.refill_cpu_open = w.refill_cpu
    w.ops_open = w.ops
    w.writes_open = w.mmap_lock_writes
    w.opened = 1
    fb_count(w.me, True)
    if FB_CHECKED_BUILD:
        w.trace_on = w.trace_max != 0
    w.cpu_start = fb_cpu_ns()
    w.start_ns = fb_now()


cdef inline void window_close(fb_worker *w) noexcept nogil:
    fb_count(w.me, False)
    w.end_ns = fb_now()
    w.cpu_end = fb_cpu_ns()
    w.closed = 1
    w.c.parks = w.me.parks


cdef inline bint between_faults(fb_worker *w, uint64_t *until) noexcept nogil:
    """The window has changed, or the worker has done its number of faults. False: it is done."""
    cdef int window = fb_window(w.me)
    if not w.opened and window != FB_WINDOW_WARMUP and (w.t.faults == 0 or w.c.faults >= w.t.warmup_faults):
        window_open(w)
        until[0] = w.at_open.faults + w.t.faults if w.t.faults else ~<uint64_t>0
    if w.t.faults:
        return not w.opened or w.c.faults < until[0]
    return window != FB_WINDOW_CLOSED


cdef inline void refill(fb_worker *w) noexcept nogil:
    """Empty the slice: entries only, tables stay. In a read section, since a munmap may free tables meanwhile."""
    cdef uint64_t began = fb_now(), cpu = fb_cpu_ns(), i
    cdef bint tracing = False
    if FB_CHECKED_BUILD:
        tracing = w.trace_on != 0
        w.trace_on = 0
    fb_count(w.me, False)
    fb_step(w.me, STEP_REFILL, w.mm)
    for i in range(w.entries):
        fb_rcu_read_lock(w.me)
        if change_at(w, w.mm, w.base + (i << w.t.entry_shift), ZAP_CLEAR):
            w.c.cleared += 1
        fb_rcu_read_unlock(w.me)
    w.c.refills += 1
    fb_rcu_reap(w)
    if FB_CHECKED_BUILD:
        w.trace_on = tracing
    w.refill_cpu += fb_cpu_ns() - cpu
    w.refill_ns += fb_now() - began
    fb_count(w.me, w.opened and not w.closed)


cdef inline bint needs_fault(fb_worker *w, uint64_t addr, bint write) noexcept nogil:
    """What the MMU would say."""
    cdef bint ok
    fb_rcu_read_lock(w.me)
    ok = mmu_permits(w.mm, addr, write)
    fb_rcu_read_unlock(w.me)
    return not ok


cdef inline void timed_fault(fb_worker *w, uint64_t addr, bint write) noexcept nogil:
    cdef uint64_t began = fb_now()
    cdef bint done = do_user_addr_fault(w, w.mm, addr, write)
    if done and w.opened and w.hist != NULL:
        w.hist[w.outcome * FB_HIST_BUCKETS + hist_bucket(fb_now() - began)] += 1


cdef inline void slice_done(fb_worker *w, uint64_t in_pass) noexcept nogil:
    """The last entry of the slice has been faulted in."""
    w.index = 0
    if w.t.handler == HANDLER_NOP:
        fb_rcu_read_lock(w.me)    # a quiescent state, also where no fault has one
        fb_rcu_read_unlock(w.me)
    elif not w.t.writers or w.t.writer_op != WRITER_FSYNC or in_pass == 0:
        # While fsync takes write permission away a full slice still faults: it is emptied once it does not.
        refill(w)


cdef inline void worker_loop(fb_worker *w) noexcept nogil:
    """Fault, entry by entry: nothing known to be there is touched again."""
    cdef const fb_trial *t = w.t
    cdef mm_struct *mm = w.mm
    cdef uint64_t mask = (<uint64_t>1 << t.sample_shift) - 1 if t.sample_shift < 63 else ~<uint64_t>0
    cdef uint64_t n = 1, until = t.warmup_faults if t.faults else ~<uint64_t>0, addr = w.base
    cdef uint64_t step = <uint64_t>1 << t.entry_shift, end = w.base + (w.entries << t.entry_shift)
    cdef int window = -1
    cdef bint write = t.access == ACCESS_WRITE
    while True:
        if fb_unlikely(fb_window(w.me) != window or w.c.faults >= until):
            window = fb_window(w.me)
            if not between_faults(w, &until):
                break
        if fb_unlikely((n & mask) == 0):
            timed_fault(w, addr, write)
        else:
            do_user_addr_fault(w, mm, addr, write)
        n += 1
        addr += step
        if fb_unlikely(addr == end):
            addr = w.base
            slice_done(w, n)
    window_close(w)


cdef inline void worker_loop_checking(fb_worker *w) noexcept nogil:
    """As worker_loop, but each access asks the MMU first whether it faults: others, or a read, may have been here (wp,
    overlap, fsync)."""
    cdef const fb_trial *t = w.t
    cdef uint64_t mask = (<uint64_t>1 << t.sample_shift) - 1 if t.sample_shift < 63 else ~<uint64_t>0
    cdef uint64_t n = 1, until = t.warmup_faults if t.faults else ~<uint64_t>0, in_pass = 0, addr
    cdef int window = -1
    cdef bint write = t.access == ACCESS_WRITE
    while True:
        if fb_unlikely(fb_window(w.me) != window or w.c.faults >= until):
            window = fb_window(w.me)
            if not between_faults(w, &until):
                break
        addr = w.base + (w.index << t.entry_shift)
        if needs_fault(w, addr, write):
            if fb_unlikely((n & mask) == 0):
                timed_fault(w, addr, write)
            else:
                do_user_addr_fault(w, w.mm, addr, write)
            n += 1
            in_pass += 1
        if t.access == ACCESS_WP:
            write = not write
            if write:
                continue    # the same entry again
        w.index += 1
        if fb_unlikely(w.index == w.entries):
            slice_done(w, in_pass)
            in_pass = 0
    window_close(w)


cdef inline void writer_op(fb_worker *w) noexcept nogil:
    cdef const fb_trial *t = w.t
    cdef uint64_t turn = w.ops + w.id - t.workers
    if t.writer_op == WRITER_BESIDE:
        op_beside(w, w.ops)
    elif t.writer_op == WRITER_TARGET:
        op_target(w, turn % t.nr_mappings)
    elif t.writer_op == WRITER_MPROTECT:
        op_mprotect(w, turn % t.nr_mappings)
    else:
        op_fsync(w, turn % t.nr_files)
    w.ops += 1
    if FB_CHECKED_BUILD and w.nr_held:
        fb_violate(w, CHECK_LEFT_HELD)
        w.nr_held = 0
    fb_rcu_read_lock(w.me)    # a quiescent state
    fb_rcu_read_unlock(w.me)
    fb_rcu_make_room(w)    # here no lock is held


cdef inline void writer_loop(fb_worker *w) noexcept nogil:
    cdef uint64_t due = fb_now(), now, parks
    while fb_window(w.me) != FB_WINDOW_CLOSED:
        if not w.opened and fb_window(w.me) == FB_WINDOW_OPEN:
            window_open(w)
        writer_op(w)
        if w.t.writer_period_ns:
            due += w.t.writer_period_ns
            now = fb_now()
            if due + 1000 * NAP_NS < now:    # a second behind: it will not catch up
                due = now
            while due > now and fb_window(w.me) != FB_WINDOW_CLOSED:
                parks = w.me.parks    # its own pause is no wait for a lock
                fb_schedule(w.me, due - now if due - now < NAP_NS else NAP_NS)
                w.me.parks = parks
                now = fb_now()
    if not w.opened:
        window_open(w)
    window_close(w)


cdef inline void task_main(fb_task *me) noexcept nogil:
    """What the machine runs for every task."""
    cdef fb_worker *w = <fb_worker *>me.arg
    fb_rcu_online(me)
    if w.id < w.t.workers:
        if w.t.recheck:
            worker_loop_checking(w)
        else:
            worker_loop(w)
    else:
        writer_loop(w)
    fb_rcu_offline(me)
