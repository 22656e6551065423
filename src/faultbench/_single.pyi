from typing import Any

ABI: int
CONSTANTS: dict[str, int]

def run_trial(spec: dict[str, Any]) -> dict[str, Any]: ...
def latency_edges() -> list[int]: ...
