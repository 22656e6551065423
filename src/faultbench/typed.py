"""Values as JSON gives them, refused unless they are of the type a record has there."""

from __future__ import annotations

from itertools import chain
from typing import Any


def typed(value: Any, kind: type) -> Any:
    """Return the value if it is of that very type; `TypeError` if not."""
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, found {type(value).__name__}")
    return value


def integer(value: Any) -> int:
    """Return the value if it is an integer of 64 bits."""
    number: int = typed(value, int)
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError("an integer of more than 64 bits")
    return number


def integers(items: Any) -> list[int]:
    """Check a list as `integer` checks one; in C, for files hold millions of them."""
    found: list[int] = typed(items, list)
    if found and (
        set(map(type, found)) != {int} or min(found) < -(1 << 63) or max(found) >> 63 > 0
    ):
        raise TypeError("expected a list of 64-bit integers")
    return found


def columns(raw: Any) -> dict[str, list[int]]:
    """Check lists as `integers` checks one, all at once: a trial has a score of short ones."""
    columns: dict[str, list[int]] = typed(raw, dict)
    if not set(map(type, columns.values())) <= {list}:
        raise TypeError("expected lists of integers")
    integers(list(chain.from_iterable(columns.values())))
    return columns


def counts(raw: Any) -> dict[str, int]:
    """Check a histogram: `integers` of its counts."""
    counts: dict[str, int] = typed(raw, dict)
    integers(list(counts.values()))
    return counts
