from typing import Any

PATTERNS: tuple[str, ...]

def run_pattern(
    pattern: str,
    cpus: list[int],
    turns: int = 0,
    duration_ns: int = 0,
    warmup_ns: int = 0,
    inside_ns: int = 0,
    outside_ns: int = 0,
) -> dict[str, Any]: ...
