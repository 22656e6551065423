"""Option values: text → checked Python, with errors that say what would be right.

The command line and TOML files go through the same functions, so both say the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path as FilePath
from typing import TypeVar

from faultbench.enums import Coded, Path
from faultbench.errors import UsageError
from faultbench.rules import KNOBS

C = TypeVar("C", bound=Coded)

MAX_ITEMS = 4096
MAX_TASKS = 4096
NS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000}
_FRACTION = re.compile(r"[0-9]{0,12}(\.[0-9]{1,99})?(?<=[0-9])(e-?[0-9]{1,2})?", re.ASCII)
_TIME = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*(ns|us|µs|ms|s|m|)", re.ASCII)
_RANGE = re.compile(r"([0-9]{1,6})-([0-9]{1,6})(?::([0-9]{1,6}))?", re.ASCII)


def show(text: str) -> str:
    """Return a user's text as it may be printed: short, without control characters."""
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return clean if len(clean) <= 60 else clean[:57] + "..."


def given(option: str, text: str) -> str:
    """Return an option's text if there is one, and nothing in it that a terminal would obey."""
    name = f"--{option}" if option.islower() and option[0] != "-" else option
    if not text.strip():
        raise UsageError(f"{name} {text!r}: is empty (an unset variable?); leave it out")
    if not text.isprintable():
        raise UsageError(f"{name} {show(text)}: holds control characters")
    return text


def items(option: str, text: str) -> list[str]:
    """Split a comma list; `UsageError` when it has an empty item or absurdly many."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise UsageError(f"--{option} {show(text)!r}: an item of the list is empty")
    if len(parts) > MAX_ITEMS:
        raise UsageError(f"--{option}: more than {MAX_ITEMS} items")
    return list(dict.fromkeys(parts))


def choice(option: str, text: str, names: Iterable[str]) -> str:
    """Return `text` if it is one of `names`."""
    known = list(names)
    if text in known:
        return text
    import difflib  # noqa: PLC0415 - only for a mistake

    near = difflib.get_close_matches(text, known, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"--{option} {show(text)}: unknown; {hint}there are {', '.join(known)}")


def choices(option: str, text: str, kind: type[C]) -> tuple[C, ...]:
    """Return the enum members of a comma list."""
    return tuple(kind(choice(option, part, kind.names())) for part in items(option, text))


def paths(text: str) -> tuple[Path, ...]:
    """Return ``--path``, telling a user who gave a file what to type instead."""
    for part in items("path", text):
        if "/" in part or part.endswith((".jsonl", ".csv")) or part == ".":
            raise UsageError(
                f"--path {show(part)}: --path is the way of a fault ({', '.join(Path.names())}).\n"
                f"For a file to fault on: --machine kernel --mapping file:{show(part)}; "
                f"to write results: -o {show(part)}"
            )
    return choices("path", text, Path)


def whole(option: str, text: str, low: int, high: int) -> int:
    """Return a whole number within bounds."""
    if not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII) or not low <= int(text) <= high:
        raise UsageError(f"--{option} {show(text)}: wants a whole number from {low} to {high}")
    return int(text)


def wholes(option: str, text: str, low: int, high: int) -> tuple[int, ...]:
    """Return a comma list of whole numbers and ranges ``A-B`` or ``A-B:STEP``."""
    return tuple(
        dict.fromkeys(n for part in items(option, text) for n in _run(option, part, low, high))
    )


def _run(option: str, part: str, low: int, high: int) -> Iterable[int]:
    match = _RANGE.fullmatch(part)
    if match is None:
        return [whole(option, part, low, high)]
    first, last = whole(option, match[1], low, high), whole(option, match[2], low, high)
    step = whole(option, match[3], 1, high) if match[3] else 1
    if first > last:
        raise UsageError(f"--{option} {part}: the range runs backwards")
    return range(first, last + 1, step)


def threads(text: str, limit: int) -> tuple[int, ...]:
    """Return ``--threads 1,2,4-16,max,2x``: `limit` is what ``max`` means."""
    counts: list[int] = []
    for part in items("threads", text):
        if part == "max":
            counts.append(limit)
        elif re.fullmatch(r"[0-9]{1,4}x", part, re.ASCII):
            if not int(part[:-1]):
                raise UsageError(f"--threads {part}: wants a multiple of the CPUs from 1x")
            counts.append(int(part[:-1]) * limit)
        elif part[0].isascii() and part[0].isdigit():
            counts.extend(_run("threads", part, 1, MAX_TASKS))
        else:
            raise UsageError(
                f"--threads {show(part)}: wants numbers, ranges, max or multiples: 1,2,4-16,max,2x"
            )
    if max(counts) > MAX_TASKS:
        raise UsageError(f"--threads {show(text)}: more than {MAX_TASKS} workers")
    return tuple(sorted(set(counts)))


def default_threads(limit: int) -> tuple[int, ...]:
    """Return 1, 2, 4, … and `limit`."""
    return tuple(sorted({1 << n for n in range(limit.bit_length())} | {limit}))


def shares(option: str, text: str) -> tuple[str, ...]:
    """Return a comma list of ``private``, ``shared`` or numbers."""
    result = []
    for part in items(option, text):
        if part not in ("private", "shared"):
            if not part.isascii() or not part.isdigit():
                raise UsageError(f"--{option} {show(part)}: wants private, shared or a number")
            whole(option, part, 1, 1 << 16)
        result.append(part)
    return tuple(result)


def duration(option: str, text: str, low: int, high: int) -> int:
    """Return ns of ``250ms``, ``1.5s``, ``2m``; a bare number is seconds."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--{option} {show(text)}: wants a time such as 250ms or 1.5s")
    value = round(float(match[1]) * NS[match[2] or "s"])
    if not low <= value <= high:
        raise UsageError(f"--{option} {show(text)}: wants {_say(low)} to {_say(high)}")
    return value


def _say(ns: int) -> str:
    unit = next(u for u in ("m", "s", "ms", "us", "ns") if ns >= NS[u] or u == "ns")
    return f"{ns / NS[unit]:g}{unit}"


def mappings(text: str) -> tuple[str, ...]:
    """Return ``--mapping``; ``dax:PATH,sync`` is one of them."""
    result: list[str] = []
    for part in text.split(","):
        if part.strip() == "sync" and result and result[-1].startswith("dax:"):
            result[-1] += ",sync"
        else:
            result += items("mapping", part)
    return tuple(dict.fromkeys(result))


def fractions(option: str, text: str) -> tuple[int, ...]:
    """Return parts per million of fractions between 0 and 1."""
    result = []
    for part in items(option, text):
        number = part.removesuffix("%")
        scale = 10_000 if part.endswith("%") else 1_000_000
        if not _FRACTION.fullmatch(number) or float(number) * scale > 1_000_000:
            raise UsageError(f"--{option} {show(part)}: wants a fraction from 0 to 1")
        if 0 < float(number) * scale < 1:
            raise UsageError(f"--{option} {show(part)}: the least fraction but 0 is 0.000001")
        result.append(round(float(number) * scale))
    return tuple(dict.fromkeys(result))


def rates(option: str, text: str) -> tuple[int, ...]:
    """Return operations per second; 0 and ``max`` are as fast as it can."""
    text = ",".join("0" if part == "max" else part for part in items(option, text))
    return wholes(option, text, 0, 10_000_000)


def knobs(texts: Iterable[str]) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Return the combinations of ``--set``: ``a=x,b=y`` turns both, ``a=x|y`` sweeps a."""
    turned: dict[str, list[str]] = {}
    for text in texts:
        for part in items("set", text):
            name, equals, values = part.partition("=")
            if not equals:
                raise UsageError(f"--set {show(part)}: wants KNOB=VALUE; knobs: {', '.join(KNOBS)}")
            choice("set", name, KNOBS)
            for value in values.split("|"):
                if value not in KNOBS[name]:
                    raise UsageError(
                        f"--set {name}={show(value)}: {name} is one of {', '.join(KNOBS[name])}"
                    )
            if name in turned:
                raise UsageError(f"--set {name}: given twice; sweep it with {name}=x|y")
            turned[name] = list(dict.fromkeys(values.split("|")))
    combinations: list[tuple[tuple[str, str], ...]] = [()]
    for name, values_of in turned.items():
        combinations = [(*c, (name, value)) for c in combinations for value in values_of]
    return tuple(combinations)


def output(text: str) -> str:
    """Return a file name to write to."""
    if not text or "\0" in text or text.endswith("/") or len(FilePath(text).name.encode()) > 240:
        raise UsageError(f"-o {show(text)!r}: wants the name of a file")
    return text
