# Probes for tests and `explain`: one thread drives the tasks of a trial by hand. Included by checked.pyx and
# single.pyx.

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset
from _core.trial cimport *

cdef extern from *:
    """
    #ifdef FB_ACCESS_LOG
    #define fb_is_newest(base) ((const char *)(base) == fb_single_base)
    #define fb_accesses() fb_single_log
    #define fb_accesses_begin() (void)(fb_single_log_nr = 0)
    static uint32_t fb_accesses_end(void) { uint32_t n = fb_single_log_nr; fb_single_log_nr = FB_ACCESS_LOG; return n; }
    #else
    #define fb_is_newest(base) 1
    struct fb_access { const void *p; uint32_t rmw; };
    #define fb_accesses() ((struct fb_access *)NULL)
    #define fb_accesses_begin() (void)0
    #define fb_accesses_end() 0u
    #endif
    """
    cdef struct fb_access:
        const void *p
        uint32_t rmw
    bint fb_is_newest(void *base)
    fb_access *fb_accesses() nogil
    void fb_accesses_begin() nogil
    uint32_t fb_accesses_end() nogil


cdef dict _meanwhile = {}    # of a fault under way, by the address of its task: {kernel function: call}
cdef dict _raised = {}       # … and what the first of its calls to fail raised


cdef void _on_step(fb_task *me, int step, const void *obj) noexcept with gil:
    """The task has come to a step: let what other tasks do at that moment happen here, once."""
    cdef uint64_t task = <uint64_t>me
    call = _meanwhile[task].pop(fb_step_names()[step].decode(), None)
    if call is None or task in _raised:
        return
    try:
        call()
    except BaseException as error:
        _raised[task] = error


cdef dict _counters(const fb_counters *c):
    cdef int k
    return {fb_counter_names()[k].decode(): (<const uint64_t *>c)[k] for k in range(fb_counter_count())
            if (<const uint64_t *>c)[k]}


@cython.auto_pickle(False)
cdef class Probe:
    """A trial that is built but not run.

    `spec` as run_trial's, with `trace` events of room for sequences. Tasks are workers, then writers, by number; a call
    that would have to wait for another task never returns (on ``_single`` it aborts). Addresses are bytes.
    """
    cdef trial_state s

    def __cinit__(self, dict spec):
        memset(&self.s, 0, sizeof(trial_state))
        trial_build(&self.s, {"trace": 4096, **spec})

    def __dealloc__(self):
        trial_destroy(&self.s)

    cdef fb_worker *_task(self, int task) except NULL:
        if not 0 <= task < <int>self.s.nr:
            raise ValueError(f"task {task}: there are {self.s.nr}")
        if not fb_is_newest(self.s.arena.base):
            raise ValueError("another trial was built since: this machine has one at a time")
        return &self.s.workers[task]

    cdef void _begin(self, fb_worker *w, dict meanwhile):
        if meanwhile:
            _meanwhile[<uint64_t>w.me] = dict(meanwhile)
            w.me.on_step = _on_step

    cdef int _end(self, fb_worker *w) except -1:
        """What `meanwhile` raised, or that it was not called, is an error."""
        w.me.on_step = NULL
        left, raised = _meanwhile.pop(<uint64_t>w.me, None), _raised.pop(<uint64_t>w.me, None)
        if raised is not None:
            raise raised
        if left:
            raise ValueError(f"the task did not come to {', '.join(left)}")
        return 0

    cdef tuple _name(self, const void *p):
        cdef const fb_arena_label *found = fb_arena_find(&self.s.arena, fb_arena_off(&self.s.arena, p))
        if found == NULL:
            return "", ""
        return found.kind.decode() + (f" {found.index}" if found.index >= 0 else ""), found.field.decode()

    def slice(self, int task=0) -> tuple:
        """Return (first byte, bytes of an entry, entries) of a worker's slice."""
        cdef fb_worker *w = self._task(task)
        return w.base, 1 << self.s.t.entry_shift, w.entries

    def fault(self, address: int, write: bool = True, task: int = 0, meanwhile: dict | None = None) -> dict:
        """Fault once; return done, outcome, counters (what changed), for task 0 the sequence of steps and lock
        operations
        and, on ``_single``, accesses: [store or rmw, object, field] of every write to a shared word.

        `meanwhile`: {kernel function: call}. When the task first comes to that step, `call` does what other tasks do
        at that moment; their accesses are among those returned.
        """
        cdef fb_worker *w = self._task(task)
        cdef uint64_t at = address
        cdef bint is_write = write
        cdef bint done
        cdef uint32_t writes, i
        self._begin(w, meanwhile)
        before = _counters(&w.c)
        w.trace_nr = 0
        w.trace_on = w.trace_max != 0
        fb_rcu_online(w.me)
        with nogil:
            fb_accesses_begin()
            done = do_user_addr_fault(w, w.mm, at, is_write)
            writes = fb_accesses_end()
        fb_rcu_offline(w.me)
        w.trace_on = 0
        self._end(w)
        after = _counters(&w.c)
        return {
            "done": bool(done),
            "outcome": ("direct", "retried", "aborted", "missed")[w.outcome],
            "counters": {k: v - before.get(k, 0) for k, v in after.items() if v != before.get(k, 0)},
            "sequence": trace_out(&self.s, w),
            "accesses": [["rmw" if fb_accesses()[i].rmw else "store", *self._name(fb_accesses()[i].p)]
                         for i in range(writes)],
        }

    def refill(self, task: int = 0) -> int:
        """Empty a worker's slice; return how many entries went."""
        cdef fb_worker *w = self._task(task)
        cdef uint64_t before = w.c.cleared
        fb_rcu_online(w.me)
        refill(w)
        fb_rcu_offline(w.me)
        return w.c.cleared - before

    def mmap(self, start: int, end: int, task: int) -> bool:
        """Map [start, end) anonymously in the mm of a writer task.

        False where something is mapped at start, or no memory is left, which `broken` says.
        """
        cdef fb_worker *w = self._task(task)
        cdef vm_area_struct *vma
        cdef bint free
        if task < <int>self.s.t.workers:
            raise ValueError(f"task {task}: a worker maps nothing; writers are from {self.s.t.workers} on")
        fb_rcu_online(w.me)
        mmap_write_lock(w, w.mm)
        vma = mtree_load(w.mm, start)
        free = vma == NULL
        if free:
            vma = vm_area_alloc(w, w.mm, start, end, VM_READ | VM_WRITE)
            free = vma != NULL and vma_link(w, w.mm, vma)
        mmap_write_unlock(w, w.mm)
        fb_rcu_offline(w.me)
        return bool(free)

    def munmap(self, start: int, end: int, task: int) -> None:
        """Unmap [start, end), which must lie in one VMA."""
        cdef fb_worker *w = self._task(task)
        fb_rcu_online(w.me)
        do_munmap(w, w.mm, start, end, False)
        fb_rcu_offline(w.me)

    def find(self, address: int, task: int = 0) -> tuple | None:
        """Return (start, end) of the VMA that contains an address."""
        cdef fb_worker *w = self._task(task)
        cdef vm_area_struct *vma = mtree_load(w.mm, address)
        if vma == NULL:
            return None
        return fb_load_u64(&vma.vm_start, FB_RELAXED), fb_load_u64(&vma.vm_end, FB_RELAXED)

    def walk(self, address: int, task: int = 0) -> tuple:
        """Return (level, flags) where the walk of an address ends: level 0 PTE, 1 PMD, 2 PUD, 3 PGD; flags 0: none."""
        cdef fb_worker *w = self._task(task)
        cdef uint32_t level
        cdef uint64_t value = entry_read(walk_leaf(w.mm, address, &level))
        return level, value & _PAGE_FLAGS

    def writer_op(self, task: int, meanwhile: dict | None = None) -> None:
        """Do one operation of a writer task; `meanwhile` as in a fault."""
        cdef fb_worker *w = self._task(task)
        self._begin(w, meanwhile)
        fb_rcu_online(w.me)
        with nogil:
            writer_op(w)
        fb_rcu_offline(w.me)
        self._end(w)

    def lock(self, call: str, address: int = 0, task: int = 0) -> int:
        """One call of the VMA-lock protocol on the VMA at `address`, or on the mm.

        mmap_write_lock, mmap_write_unlock, mmap_write_downgrade, mmap_read_unlock, vma_start_write, vma_end_read: 0.
        vma_start_read: 0 locked, 1 read-locked, 2 detached.
        """
        cdef fb_worker *w = self._task(task)
        cdef vm_area_struct *vma = NULL
        cdef int got = 0
        if call.startswith("vma_"):
            vma = mtree_load(w.mm, address)
            if vma == NULL:
                raise ValueError(f"no VMA at {address:#x}")
        fb_rcu_online(w.me)
        if call == "mmap_write_lock":
            mmap_write_lock(w, w.mm)
        elif call == "mmap_write_unlock":
            mmap_write_unlock(w, w.mm)
        elif call == "mmap_write_downgrade":
            mmap_write_downgrade(w, w.mm)
        elif call == "mmap_read_unlock":
            mmap_read_unlock(w, w.mm)
        elif call == "vma_start_write":
            vma_start_write(w, w.mm, vma)
        elif call == "vma_end_read":
            vma_end_read(w, vma)
        elif call == "vma_start_read":
            got = vma_start_read(w, w.mm, vma)
        else:
            raise ValueError(f"unknown call {call}")
        fb_rcu_offline(w.me)
        return got

    def seq(self, task: int = 0) -> int:
        """mm_lock_seq of a task's mm."""
        return fb_load_u32(&self._task(task).mm.mm_lock_seq, FB_RELAXED)

    def broken(self) -> str | None:
        """Return the invariant or the assertion that is broken now, at rest; None when all hold."""
        cdef uint32_t i
        for i in range(self.s.nr + 1):
            if self.s.workers[i].violation:
                return fb_check_text(self.s.workers[i].violation).decode()
        return at_rest(&self.s)
