"""A driver author's own module on a stock kernel: what it answers, and if RETRY leaks the lock.

Counted besides: under which lock its ->huge_fault() is called and what it answers.

The trap of porting.rst: whoever answers VM_FAULT_RETRY to a call under the VMA lock must have let
go of that lock (kernel-reference §1.4). A handler that does not leaves a read lock on the VMA for
ever; the next writer, munmap at the latest, waits for it. A watchdog in the guest says so.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from faultbench.errors import FaultbenchError, UsageError
from faultbench.lab import build, guest, initramfs, packages
from faultbench.lab.run import READS, TRAPS, Say

FAULTS = 256
HANG_SECONDS = 4  # of a loop that takes a few ms; ten times that where it is not in munmap
_NAME = re.compile(r"[A-Za-z0-9_./-]+")

_SCRIPT = """
module={module} device={device} symbol={symbol}
fail() {{ say "FAIL $*"; say END; sleep 1; poweroff -f; }}
insmod /mods/$module.ko 2>/tmp/error || fail "insmod $module.ko: $(cat /tmp/error)"
[ -e "$device" ] || fail "$module.ko makes no $device"
if [ -z "$symbol" ]; then
	set -- $(grep "\\[$module\\]" /proc/kallsyms | grep -v __pfx_ |
		awk '$2 ~ /[tT]/ && $3 ~ /huge_fault/ {{print $3}}' | sort -u)
	[ $# = 1 ] || fail "$module.ko has $# functions named *huge_fault*: $*; give --symbol"
	symbol=$1
fi
say "SYMBOL $symbol"
insmod /mods/faultbench_ab.ko symbol=$symbol returns=1 || fail "no probe on $symbol"
ab=/sys/module/faultbench_ab/parameters
# attempt LABEL RETRY ARGUMENTS: the loop ends with munmap, which waits for a lock that leaked
attempt() {{
	label=$1
	echo $2 > $ab/retry
	echo 0 > $ab/counts
	shift 2
	faultloop fresh=1 faults={faults} slice=$((32 * 2097152)) "$@" "$device" > /tmp/out 2>&1 &
	pid=$! waited=0
	while kill -0 $pid 2>/dev/null && [ $waited -lt {limit} ]; do
		sleep 0.2
		waited=$((waited + 1))
		# A slow host is no leak: a task that waits to write-lock a VMA is.
		[ $waited -gt {ticks} ] && cat /proc/$pid/task/*/stack 2>/dev/null |
			grep -qE "vma_start_write|vms_gather_munmap|rwsem_down_write" && break
	done
	say "COUNTS $label" $(cat $ab/counts)
	if kill -0 $pid 2>/dev/null; then
		for t in /proc/$pid/task/*; do
			say "STACK $label $(cut -d' ' -f2 $t/stack | tr '\\n' ' ')"
		done
		say "HANG $label"
		say END
		sleep 1
		poweroff -f
	fi
	say "LOOP $label $(cat /tmp/out)"
}}
attempt write 0
attempt read 0 access=0
attempt two 0 workers=2
attempt unaligned 0 skew=4096 faults=32
attempt sent-back 1
"""


@dataclass
class Report:
    """What the handler did."""

    module: str
    release: str
    symbol: str = ""
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    faults: dict[str, tuple[int, int]] = field(default_factory=dict)  # (exceptions, reads)
    errors: dict[str, str] = field(default_factory=dict)
    hang: str = ""
    stack: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether no lock leaked."""
        return not self.hang

    @property
    def text(self) -> str:
        """The report as people read it."""
        lines = [f"{self.module} on {self.release}: {self.symbol}", ""]
        lines.append(
            f"{'':12}{'faults':>8}{'mmap_lock':>11}{'under VMA':>11}{'under':>11}"
            f"{'answers':>9}{'answers':>10}"
        )
        lines.append(
            f"{'':12}{'':>8}{'reads':>11}{'lock':>11}{'mmap_lock':>11}{'RETRY':>9}{'FALLBACK':>10}"
        )
        for label, counts in self.counts.items():
            faults, reads = self.faults.get(label, (None, None))
            fallbacks = counts["fallbacks"] + counts["fallbacks_pud"]
            lines.append(
                f"{label:12}{_text(faults):>8}{_text(reads):>11}{counts['calls_under_vma']:>11}"
                f"{counts['calls_under_mmap']:>11}{counts['retries']:>9}{fallbacks:>10}"
            )
        lines += [f"  {label}: {why}" for label, why in self.errors.items()]
        return "\n".join([*lines, "", *self._verdict()])

    def _verdict(self) -> list[str]:
        if self.hang:
            where = f" (it waits in {self.stack[0]})" if self.stack else ""
            return [
                f"LEAK: munmap of the mapping never returned{where}.",
                "The handler answers VM_FAULT_RETRY under the VMA lock without letting go of it: "
                "call vma_end_read(vmf->vma) first, and only if FAULT_FLAG_VMA_LOCK is set.",
            ]
        served = self.counts.get("write", {})
        if not served:
            return ["The handler was never called."]
        if not served["calls_under_vma"] and not served["calls_under_mmap"]:
            return [
                "The handler was never called: huge faults need VM_HUGEPAGE or DAX, and a mapping "
                "that is VM_PFNMAP or VM_MIXEDMAP."
            ]
        faults, reads = self.faults.get("write", (0, 0))
        back = self.faults.get("sent-back", (0, 0))
        lines = [f"No lock leaked: munmap returned after each of {len(self.counts)} runs."]
        if served["retries"]:
            lines.append(
                f"It answers RETRY to {served['retries']} of {served['calls_under_vma']} calls "
                f"under the VMA lock: {_per(reads, faults)} mmap_lock reads per fault."
            )
        else:
            lines.append(
                f"It serves faults under the VMA lock: {_per(reads, faults)} mmap_lock reads per "
                f"fault. If it answered RETRY it would be {_per(back[1], back[0])} (last row)."
            )
        return lines


def _text(value: int | None) -> str:
    return "" if value is None else str(value)


def _per(part: int | None, whole: int | None) -> str:
    return f"{(part or 0) / whole:.3f}" if whole else "-"


def run(
    module: Path,
    device: str,
    symbol: str | None,
    say: Say,
    *,
    offline: bool = False,
    keep: bool = False,
) -> Report:
    """Build `module` against the laboratory's kernel, fault `device` in a guest, and report."""
    for name, value in (("--device", device), ("--symbol", symbol or "x")):
        if not _NAME.fullmatch(value):
            raise UsageError(f"lab run {name} {value}: letters, digits and _./- only")
    packages.need(*packages.GUEST_TOOLS)
    kernel = packages.fetch("6.12", say, offline=offline)
    with packages.scratch("faultbench-build-") as folder:
        own = build.module_in(kernel, module, folder / "driver")
        probe = build.modules(kernel, folder / "modules")[1]
        script = _SCRIPT.format(
            module=own.stem,
            device=device,
            symbol=symbol or "",
            faults=FAULTS,
            ticks=HANG_SECONDS * 5,
            limit=10 * HANG_SECONDS * 5,
        )
        program = build.fault_loop(folder)
        archive = initramfs.make(kernel, script, program, load=(), tools=(), modules=[own, probe])
    say(f"{kernel.release}: {own.name} built, booting")
    options = guest.Options(keep=keep, silent_seconds=90.0)

    def report_of(vm: guest.Guest) -> Report:
        report = Report(own.name, kernel.release)
        for line in vm.lines():
            _read(report, line, vm)
        return report

    return guest.session(kernel, archive, options, say, report_of)


def _read(report: Report, line: str, vm: guest.Guest) -> None:
    word, _, rest = line.partition(" ")
    label, _, text = rest.partition(" ")
    if word == "FAIL":
        raise FaultbenchError(f"lab: in the guest, {rest.strip()}\n{vm.console(4)}".rstrip())
    if word == "SYMBOL":
        report.symbol = label
    elif word == "COUNTS":
        words = text.split()
        report.counts[label] = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    elif word == "STACK" and re.search(r"munmap|vma_start_write|down_write", text):
        report.stack.append(" < ".join(x.partition("+")[0] for x in text.split()[:6]))
    elif word == "HANG":
        report.hang = label
    elif word == "LOOP":
        _loop(report, label, text)


def _loop(report: Report, label: str, text: str) -> None:
    try:
        raw = json.loads(text)
    except ValueError:
        report.errors[label] = text[:120] or "the fault loop died"
        return
    if "error" in raw:
        report.errors[label] = raw["error"]
        return
    counts = [w["count"] for w in raw["worker"]]
    report.faults[label] = sum(c[TRAPS] for c in counts), sum(c[READS] for c in counts)
