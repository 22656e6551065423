"""``faultbench audit``: which mappings take mmap_lock here, and which faults are 2 MiB."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def audit(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files or devices: are their faults 2 MiB, and if not why not?", metavar="PATH"
        ),
    ] = None,
    pid: Annotated[int | None, typer.Option(help="Also a process's mappings by kind.")] = None,
    format: Annotated[str, typer.Option(help="text or json.")] = "text",
) -> None:
    """Fault each kind of mapping on this kernel and count mmap_lock reads per fault.

    Counting needs root or CAP_PERFMON; without, the count is null with the reason. Whether faults
    are 2 MiB needs no rights.
    """
    import json
    import platform

    from faultbench import values
    from faultbench.audit import kinds, path, process
    from faultbench.cli._results import safe
    from faultbench.errors import UsageError
    from faultbench.machines import running

    if format not in ("text", "json"):
        raise UsageError(f"--format {format}: there are text and json")
    rows = [path.audit(values.given("PATH", name)) for name in paths or ()]
    survey = kinds.survey()
    report: dict[str, Any] = {
        "kernel": platform.release(),
        "per_vma_lock": running.per_vma_lock(),
        "mappings": survey + rows,
    }
    if pid is not None:
        report["process"] = process.audit(pid, survey)
    print(json.dumps(report, indent=1) if format == "json" else safe(_text(report)))


_LOCK = {True: "VMA lock", False: "mmap_lock", None: "?"}


def _text(report: dict[str, Any]) -> str:
    built = {True: "yes", False: "no", None: "unknown"}[report["per_vma_lock"]]
    lines = [f"kernel {report['kernel']}, PER_VMA_LOCK {built}", ""]
    width = max(len(r["mapping"]) for r in report["mappings"])
    head = f"{'mapping':{width}}  {'mmap_lock':>9}  {'lock':9}  {'bytes':>7}  verdict"
    lines += [
        head,
        f"{'':{width}}  {'reads':>9}  {'':9}  {'':>7}",
        f"{'':{width}}  {'/fault':>9}  {'':9}  {'/fault':>7}",
    ]
    reasons: dict[str, list[str]] = {}
    for row in report["mappings"]:
        parts = row.get("by_range", ())
        if len(parts) > 1:  # huge ranges and others are two sorts of faults
            of = [{**p, "verdict": _of(p, row["ranges"])} for p in parts]
            lines += [_line(row["mapping"] * (p is of[0]), p, width) for p in of]
        else:
            lines.append(_line(row["mapping"], row, width))
        if row["reason"]:
            reasons.setdefault(row["reason"], []).append(row["mapping"])
        lines += _huge(row)
    lines += [""] if reasons else []
    lines += [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]
    if "process" in report:
        lines += ["", *_process(report["process"])]
    return "\n".join(lines)


def _line(name: str, row: dict[str, Any], width: int) -> str:
    reads = row["mmap_lock_reads_per_fault"]
    number = "-" if reads is None else f"{reads:.2f}"
    lock = _LOCK[None if reads is None else reads < 0.5]
    size = _size(row["bytes_per_fault"])
    return f"{name:{width}}  {number:>9}  {lock:9}  {size:>7}  {row['verdict']}"


def _of(part: dict[str, Any], ranges: int) -> str:
    return f"{part['ranges']} of {ranges} ranges: {part['verdict']}"


def _huge(row: dict[str, Any]) -> list[str]:
    if "huge" not in row:
        return [f"    {w['reason']}\n      fix: {w['fix']}" for w in row.get("why_not", ())]
    if row["huge"]:
        return [f"    2 MiB: all {row['ranges']} ranges looked at are mapped by one fault each"]
    lines = [f"    2 MiB: {row['huge_ranges']} of {row['ranges']} ranges looked at"]
    for why in row["why_not"]:
        lines.append(
            f"    {why['ranges']} {'' if why.get('zero_page') else 'not: '}{why['reason']}"
        )
        lines.append(f"      fix: {why['fix']}")
    return lines


def _process(found: dict[str, Any]) -> list[str]:
    lines = [
        f"process {found['pid']}",
        f"{'kind':10}{'VMAs':>6}{'size':>9}{'resident':>10}  reads/fault",
    ]
    for kind in found["kinds"]:
        reads = kind["mmap_lock_reads_per_fault"]
        text = f"not measured: {kind['reason']}" if reads is None else f"{reads:.2f}"
        if reads is not None and len(kind.get("by_range", ())) > 1:
            text = ", ".join(
                f"{p['mmap_lock_reads_per_fault']:.2f} in {p['ranges']}" for p in kind["by_range"]
            )
            text += f" of {kind['ranges']} ranges"
        lines.append(
            f"{kind['kind']:10}{kind['vmas']:>6}{_size(kind['bytes']):>9}"
            f"{_size(kind['resident']):>10}  {text}"
        )
        if kind["file"]:
            lines += [f"  {kind['file']}", *_file(kind)]
    if found["bytes_under_mmap_lock"] is None:
        return [*lines, f"how much faults under mmap_lock: unknown; {found['reason']}"]
    share = found["bytes_under_mmap_lock"]
    return [
        *lines,
        f"faults under mmap_lock: {_size(share)} of {_size(found['bytes_judged'])} judged"
        " (read faults of DAX files and devices; files while they are in the cache)",
    ]


def _file(kind: dict[str, Any]) -> list[str]:
    lines = []
    if "ranges" in kind:
        lines.append(f"  2 MiB: {kind['huge_ranges']} of {kind['ranges']} ranges looked at")
        lines += [f"  {why['ranges']}: {why['reason']}; {why['fix']}" for why in kind["why_not"]]
    if kind["private"]:
        lines.append(
            f"  {kind['private']} mapped private: a write copies a page of 4 KiB, on ext4 always "
            "under mmap_lock (its handler has no ->map_pages); use MAP_SHARED"
        )
    return lines


def _size(count: int | None) -> str:
    if count is None:
        return "-"
    value = float(count)
    for unit in ("", " K", " M", " G", " T"):
        if value < 1024 or unit == " T":
            return f"{value:.0f}{unit}" if value == int(value) else f"{value:.1f}{unit}"
        value /= 1024
    raise AssertionError
