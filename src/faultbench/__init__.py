"""faultbench: what does sending a DAX page fault back for mmap_lock cost?"""

__version__ = "0.1.0"
