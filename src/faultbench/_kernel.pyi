"""Real page faults on the running kernel (``src/_core/kernel.pyx``)."""

from typing import Any

COUNTERS: tuple[str, ...]
EVENTS: tuple[str, ...]
ABI: int
MAX_TASKS: int

def run_trial(spec: dict[str, Any]) -> dict[str, Any]: ...
