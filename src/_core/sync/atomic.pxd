# SPDX-License-Identifier: MIT
"""sync/atomic.h, the seam. Orders are constants: give the names, never a variable."""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from _core.sync.task cimport fb_task

cdef extern from "sync/atomic.h" nogil:
    int FB_RELAXED
    int FB_ACQUIRE
    int FB_RELEASE
    int FB_ACQ_REL
    int FB_CACHELINE
    int FB_LINE_PAIR
    int FB_WINDOW_WARMUP
    int FB_WINDOW_OPEN
    int FB_WINDOW_CLOSED

    bint fb_likely(bint)
    bint fb_unlikely(bint)
    void fb_bug(const char *what)

    uint8_t fb_load_u8(const uint8_t *p, int mo)
    void fb_store_u8(uint8_t *p, uint8_t v, int mo)
    uint8_t fb_xchg_u8(uint8_t *p, uint8_t v, int mo)
    uint8_t fb_fetch_or_u8(uint8_t *p, uint8_t v, int mo)
    uint8_t fb_fetch_and_u8(uint8_t *p, uint8_t v, int mo)
    bint fb_cas_u8(uint8_t *p, uint8_t *expected, uint8_t v, int mo)

    uint16_t fb_load_u16(const uint16_t *p, int mo)
    void fb_store_u16(uint16_t *p, uint16_t v, int mo)

    uint32_t fb_load_u32(const uint32_t *p, int mo)
    void fb_store_u32(uint32_t *p, uint32_t v, int mo)
    uint32_t fb_xchg_u32(uint32_t *p, uint32_t v, int mo)
    uint32_t fb_fetch_add_u32(uint32_t *p, uint32_t v, int mo)
    uint32_t fb_fetch_or_u32(uint32_t *p, uint32_t v, int mo)
    uint32_t fb_fetch_and_u32(uint32_t *p, uint32_t v, int mo)
    bint fb_cas_u32(uint32_t *p, uint32_t *expected, uint32_t v, int mo)

    uint64_t fb_load_u64(const uint64_t *p, int mo)
    void fb_store_u64(uint64_t *p, uint64_t v, int mo)
    uint64_t fb_xchg_u64(uint64_t *p, uint64_t v, int mo)
    uint64_t fb_fetch_add_u64(uint64_t *p, uint64_t v, int mo)
    uint64_t fb_fetch_or_u64(uint64_t *p, uint64_t v, int mo)
    uint64_t fb_fetch_and_u64(uint64_t *p, uint64_t v, int mo)
    bint fb_cas_u64(uint64_t *p, uint64_t *expected, uint64_t v, int mo)

    void *fb_load_ptr(void **p, int mo)
    void fb_store_ptr(void **p, void *v, int mo)

    void fb_prefetchw(const void *p)
    void fb_spin_u8(const uint8_t *p, uint8_t old)
    void fb_spin_u32(const uint32_t *p, uint32_t old)
    void fb_spin_u64(const uint64_t *p, uint64_t old)
    bint fb_poll_u64(fb_task *me, const uint64_t *p, uint64_t old, uint64_t deadline)
    uint64_t fb_slice_end(const fb_task *me, uint64_t now)
    bint fb_park(fb_task *me, uint64_t timeout_ns)
    void fb_unpark(fb_task *t)
    bint fb_task_on_cpu(const fb_task *t)
    uint64_t fb_now()
    uint64_t fb_cpu_ns()
    void fb_work(uint64_t ns)
    void fb_step(fb_task *me, int step, const void *obj)
    void fb_count(fb_task *me, bint on)
    int fb_window(fb_task *me)

    struct fb_run:
        fb_task *tasks
        uint32_t nr
        uint32_t nr_workers
        void (*fn)(fb_task *me) noexcept nogil
        uint64_t warmup_ns
        uint64_t duration_ns
        uint32_t started
        uint32_t unpinned
        uint64_t start_ns
        uint64_t open_ns
        uint64_t closed_ns

    void *fb_machine_map(size_t bytes)
    void fb_machine_unmap(void *p, size_t bytes)
    int fb_machine_run(fb_run *run)
