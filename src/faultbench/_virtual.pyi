from typing import Any

ABI: int
CONSTANTS: dict[str, int]
STEPS: dict[str, int]
STEP_NAMES: list[str]
FIGURES: tuple[str, ...]
PATTERNS: tuple[str, ...]
LOG_TYPES: tuple[str, ...]

def run_trial(spec: dict[str, Any]) -> dict[str, Any]: ...
def latency_edges() -> list[int]: ...
def run_pattern(
    pattern: str,
    machine: dict[str, int],
    cpus: list[int],
    turns: int = 0,
    duration_ns: int = 0,
    warmup_ns: int = 0,
    inside_ns: int = 0,
    outside_ns: int = 0,
    seed: int = 0,
    log: int = 0,
) -> dict[str, Any]: ...
