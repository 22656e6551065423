"""The names of kernel functions that steps stand for, as the kernel of a trial has them."""

from __future__ import annotations

import importlib
from typing import Any

# Before 6.5 the architecture's fault handler did itself what `lock_mm_and_find_vma` does since:
# mmap_read_trylock(), else mmap_read_lock(), then find_vma(), which is a step of its own.
# kernel-reference §1.2 (also backported: 6.1.37, 6.4.1).
LOCK_AND_FIND = "lock_mm_and_find_vma"
BEFORE_6_5 = {LOCK_AND_FIND: "mmap_read_lock"}
_OLDER = frozenset({"v6.3", "v6.4"})


def steps() -> list[str]:
    """Return the function of each step, by code: what `explain` and a time line call it."""
    engine: Any = importlib.import_module("faultbench._virtual")
    names: list[str] = engine.STEP_NAMES
    return names


def codes() -> list[str]:
    """Return the key of each step, by code: what a cost profile calls it."""
    engine: Any = importlib.import_module("faultbench._virtual")
    by_code = {code: name for name, code in engine.STEPS.items()}
    return [by_code[code] for code in range(len(engine.STEP_NAMES))]


def of_kernel(name: str, kernel: str) -> str:
    """Return what the function of a step is called in that kernel."""
    return BEFORE_6_5.get(name, name) if kernel in _OLDER else name
