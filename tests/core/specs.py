"""run_trial's input by the names that the rest of faultbench uses."""

from __future__ import annotations

from typing import Any

from faultbench.enums import Access, Handler, Map, Order, WriterOp
from faultbench.rules import KERNELS

HANDLERS = [h.value for h in Handler]
ORDERS = [o.value for o in Order]
ACCESSES = [a.value for a in Access]
MAPS = [m.value for m in Map]
WRITER_OPS = [o.value for o in WriterOp]


def spec(kernel: str = "v6.6", handler: str = "ext4", **more: Any) -> dict[str, Any]:
    """One worker, 2 MiB writes, 64 faults by count; order, access, map, writer_op by name."""
    rules = KERNELS[kernel].rules
    out: dict[str, Any] = {
        "rules": rules.bits,
        "vma_lock": rules.vma_lock.code,
        "seq": rules.seq.code,
        "handler": Handler(handler).code,
        "order": Order(more.pop("order", "pmd")).code,
        "access": Access(more.pop("access", "write")).code,
        "map": Map(more.pop("map", "private" if handler == "anon" else "shared")).code,
        "writer_op": WriterOp(more.pop("writer_op", "beside")).code,
        "workers": 1,
        "faults": 64,
        "slice": 16,
    }
    if more.get("duration_ns"):
        out["faults"] = 0
    out.update(more)
    return out


def totals(out: dict[str, Any]) -> dict[str, int]:
    """Sums over the workers."""
    return {name: sum(values) for name, values in out["worker"].items()}


def costs(constants: dict[str, int], **ns: int) -> list[int]:
    """A cost list from step names in lower case."""
    cost = [0] * constants["STEP_COUNT"]
    for name, value in ns.items():
        cost[constants[f"STEP_{name.upper()}"]] = value
    return cost
