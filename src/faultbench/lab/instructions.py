"""Instructions per fault: QEMU's -icount on one CPU, where a virtual nanosecond is an instruction.

Repeatable to about 0.3 %. Not time: cache lines and atomics cost nothing here. The first repeat is
dropped (caches of the kernel fill), the median of the rest is given with its spread.

ext4's path is switched by a probe whose own instructions are measured and taken out: a direct
fault passes it once, a fault that is sent back twice. Writes are plain stores: the locked write of
the other cases is a load and a store on one emulated CPU, which is two faults.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from faultbench import costs
from faultbench.enums import Access, Handler
from faultbench.enums import Path as FaultPath
from faultbench.errors import FaultbenchError, OutputError
from faultbench.lab import build, guest, initramfs, packages
from faultbench.lab.cases import Case
from faultbench.lab.run import Say, loop_output
from faultbench.lab.script import DEVICE_PARAMETERS, PROBE_PARAMETERS, preparation

RECORDED = Path(__file__).parent / "data/instructions.json"
REPEATS = 9
PER_NS = 4  # instructions per ns, as costs/default.toml: an estimate
_ACCESS = (Access.READ, Access.WRITE)


@dataclass(frozen=True)
class Measured:
    """Instructions per fault of one case: median, and (max - min) / median of the repeats."""

    handler: Handler
    access: Access
    path: FaultPath
    instructions: float
    spread: float


def _lines() -> Iterable[str]:
    yield preparation([Handler.EXT4, Handler.DRIVER])
    # One CPU: the flusher's cache-line flushes of the written file would be counted as faults'.
    yield "echo 0 > /proc/sys/vm/dirty_writeback_centisecs"
    for handler in (Handler.DRIVER, Handler.EXT4):
        for access in _ACCESS:
            case = Case("6.12", handler, FaultPath.DIRECT, access=access, timed=True)
            for setting in ("bare", "probe", "retry"):
                yield from _setting(handler, setting)
                for _ in range(REPEATS):
                    label = f"{handler}.{access}.{setting}"
                    arguments = f"store=1 {case.arguments()}"
                    yield f'say "LOOP {label} $(faultloop {arguments} 2>&1)"'
            if handler is Handler.EXT4:
                yield "rmmod faultbench_ab"
            else:
                yield f"echo 0 > {DEVICE_PARAMETERS}/retry"


def _setting(handler: Handler, setting: str) -> Iterable[str]:
    if handler is Handler.DRIVER:
        yield f"echo {int(setting == 'retry')} > {DEVICE_PARAMETERS}/retry"
    elif setting != "bare":
        # One probe for both: what one costs varies from one registration to the next.
        if setting == "probe":
            yield "insmod /mods/faultbench_ab.ko symbol=ext4_dax_huge_fault"
        yield f"echo {int(setting == 'retry')} > {PROBE_PARAMETERS}/retry"


def run(say: Say, *, offline: bool = False, keep: bool = False) -> list[Measured]:
    """Boot one CPU with -icount and measure."""
    packages.need(*packages.GUEST_TOOLS, *packages.DISK_TOOLS)
    kernel = packages.fetch("6.12", say, offline=offline)
    with packages.scratch("faultbench-build-") as folder:
        modules = build.modules(kernel, folder / "modules")
        program = build.fault_loop(folder)
        script = "\n".join(_lines())
        archive = initramfs.make(kernel, script, program, modules=modules)
    say(f"{kernel.release}: booting one CPU that counts instructions")
    options = guest.Options(cpus=1, icount=True, keep=keep)
    return list(_measured(guest.session(kernel, archive, options, say, _samples)))


def _samples(vm: guest.Guest) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {}
    for line in vm.lines():
        word, _, rest = line.partition(" ")
        if word == "FAIL":
            raise FaultbenchError(f"lab: in the guest, {rest} failed")
        if word == "LOOP":
            label, _, text = rest.partition(" ")
            samples.setdefault(label, []).append(_per_fault(label, text))
    return samples


def _per_fault(label: str, text: str) -> float:
    """Return instructions per fault; raises `FaultbenchError` where touches are not faults."""
    window = loop_output(label, text)["worker"][0]["window"]
    faults, touches = window["faults"], window["touches"]
    if faults != touches:
        raise FaultbenchError(
            f"lab run --instructions: {label}: {faults} faults in {touches} touches, so what a "
            "fault costs cannot be told; please report it with the QEMU version"
        )
    return float(window["fault_ns"] / touches)


def _measured(samples: dict[str, list[float]]) -> Iterable[Measured]:
    for handler in (Handler.DRIVER, Handler.EXT4):
        for access in _ACCESS:
            runs = {s: samples[f"{handler}.{access}.{s}"][1:] for s in ("bare", "probe", "retry")}
            middle = {name: median(values) for name, values in runs.items()}
            probe = middle["probe"] - middle["bare"] if handler is Handler.EXT4 else 0.0
            for path, name, passes in (
                (FaultPath.DIRECT, "bare", 0),
                (FaultPath.RETRY, "retry", 2),
            ):
                spread = (max(runs[name]) - min(runs[name])) / middle[name]
                yield Measured(handler, access, path, middle[name] - passes * probe, spread)


def to_json(found: list[Measured], release: str) -> dict[str, Any]:
    """Return the measurements as JSON."""
    return {"release": release, "measured": [asdict(m) for m in found]}


def from_json(raw: dict[str, Any]) -> list[Measured]:
    """Inverse of `to_json`."""
    return [
        Measured(
            Handler(m["handler"]),
            Access(m["access"]),
            FaultPath(m["path"]),
            float(m["instructions"]),
            float(m["spread"]),
        )
        for m in raw["measured"]
    ]


def value(found: list[Measured], handler: Handler, access: Access, path: FaultPath) -> float:
    """Return the instructions per fault of one case."""
    return next(
        m.instructions for m in found if (m.handler, m.access, m.path) == (handler, access, path)
    )


def table(found: list[Measured]) -> str:
    """Return the figures as text."""
    lines = [f"{'instructions per fault':24}{'direct':>9}{'retry':>9}{'detour':>9}{'spread':>9}"]
    for handler in (Handler.DRIVER, Handler.EXT4):
        for access in _ACCESS:
            direct = value(found, handler, access, FaultPath.DIRECT)
            retry = value(found, handler, access, FaultPath.RETRY)
            spread = max(m.spread for m in found if (m.handler, m.access) == (handler, access))
            lines.append(
                f"{f'{handler} {access}':24}{direct:9.0f}{retry:9.0f}"
                f"{retry / direct - 1:+9.1%}{spread:9.1%}"
            )
    return "\n".join(lines)


def profile(found: list[Measured]) -> dict[str, int]:
    """Return ns by step: the default profile, its sums moved to what was measured.

    A device's fault fixes entry and exit, the detour the walk, ext4's read and write what DAX and
    the journal add; how a sum is divided over its steps stays the default's estimate.
    """
    steps = dict(costs.load("default").steps)
    ns = {(m.handler, m.access, m.path): m.instructions / PER_NS for m in found}
    direct, write = FaultPath.DIRECT, Access.WRITE
    device = ns[Handler.DRIVER, write, direct]
    detour = ns[Handler.DRIVER, write, FaultPath.RETRY] - device
    find = steps["lock_mm_and_find_vma"] + steps["find_vma"] + steps["create_huge_pmd"]
    steps["handle_mm_fault"] = max(0, round(detour - find - steps["driver_huge_fault"]))
    on_path = "lock_vma_under_rcu handle_mm_fault create_huge_pmd driver_huge_fault insert_pfn_pmd"
    rest = sum(steps[name] for name in on_path.split())
    steps["exc_page_fault"] = max(0, round(device - rest))
    read = ns[Handler.EXT4, Access.READ, direct]
    dax = read - ns[Handler.DRIVER, Access.READ, direct] + steps["driver_huge_fault"]
    _scale(steps, "grab_mapping_entry iomap_begin dax_insert_entry dax_unlock_entry", dax)
    journal = ns[Handler.EXT4, write, direct] - read
    _scale(steps, "sb_start_pagefault file_update_time journal_start journal_stop", journal)
    return steps


def _scale(steps: dict[str, int], names: str, total: float) -> None:
    now = sum(steps[name] for name in names.split())
    for name in names.split():
        steps[name] = max(0, round(steps[name] * total / now))


def write_profile(path: Path, found: list[Measured]) -> None:
    """Write the profile as TOML for ``--cost FILE``."""
    default = costs.load("default")
    lines = [
        "# Written by `faultbench lab run --instructions`: sums are measured, their division over",
        f"# steps and {PER_NS} instructions per ns are costs/default.toml's estimates.",
        *(f"# {line}" for line in table(found).splitlines()),
        f'name = "{path.stem}"',
        'about = "instructions of Debian\'s 6.12 counted by QEMU -icount"',
        "",
        "[steps]",
    ]
    for step, value in profile(found).items():
        same = value == default.steps[step]
        source = default.sources.get(step, "") if same else "lab run --instructions"
        lines.append(f'{step} = {{ ns = {value}, source = "{source}" }}')
    try:
        with path.open("x") as stream:
            stream.write("\n".join(lines) + "\n")
    except OSError as error:
        raise OutputError(f"{path}: {(error.strerror or '').lower()}") from None
