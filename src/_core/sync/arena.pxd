# SPDX-License-Identifier: MIT
"""sync/arena.h: the one mapping that holds everything shared; set-up by one thread."""
from libc.stdint cimport int64_t, uint64_t

cdef extern from "sync/arena.h" nogil:
    struct fb_arena_label:
        uint64_t off
        uint64_t len
        const char *kind
        const char *field
        int64_t index

    struct fb_arena:
        char *base
        size_t size
        size_t used
        fb_arena_label *labels
        size_t nr_labels

    int fb_arena_init(fb_arena *a, size_t size)
    void fb_arena_destroy(fb_arena *a)
    void *fb_arena_alloc(fb_arena *a, size_t size, size_t align)
    uint64_t fb_arena_off(const fb_arena *a, const void *p)
    int fb_arena_name(fb_arena *a, uint64_t off, uint64_t len, const char *kind, int64_t index, const char *field)
    const fb_arena_label *fb_arena_find(const fb_arena *a, uint64_t off)
