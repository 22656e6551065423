"""Measure what sending a DAX page fault back for mmap_lock costs."""

__version__ = "0.1.0"
