# SPDX-License-Identifier: MIT
"""sync/seqcount.h: seqcount_t."""
from libc.stdint cimport uint32_t

cdef extern from "sync/seqcount.h" nogil:
    struct fb_seqcount:
        uint32_t sequence

    void fb_seq_begin(fb_seqcount *s)
    void fb_seq_end(fb_seqcount *s)
    uint32_t fb_seq_read_acquire(const fb_seqcount *s)
    bint fb_seq_read_retry(const fb_seqcount *s, uint32_t start)
