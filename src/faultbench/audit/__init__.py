"""Which mappings still take mmap_lock on this kernel, and which faults are 2 MiB.

`kinds` faults one mapping of each kind, `path` looks at a file or device, `process` at another
process. Nothing is concluded from timing: what cannot be counted is None, with the reason.
"""
