# SPDX-License-Identifier: MIT
"""sync/refcount.h: refcount_t."""
from libc.stdint cimport uint32_t

cdef extern from "sync/refcount.h" nogil:
    struct fb_refcount:
        uint32_t refs

    uint32_t fb_refcount_read(const fb_refcount *r)
    void fb_refcount_set_release(fb_refcount *r, uint32_t n)
    bint fb_refcount_inc_not_zero_limited_acquire(fb_refcount *r, uint32_t *old, uint32_t limit)
    bint fb_refcount_add_not_zero(fb_refcount *r, uint32_t n)
    uint32_t fb_refcount_sub_return(fb_refcount *r, uint32_t n)
    bint fb_refcount_sub_and_test(fb_refcount *r, uint32_t n)
