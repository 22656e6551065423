"""Identity of this machine, what may disturb a measurement on it, and how to mend that."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from faultbench.sysfs import Sys, format_cpu_list
from faultbench.topology import Topology, cgroup_folders

# What makes a rate another rate. Load, governor and their like are disturbances, told per trial.
FACTS = {
    "cpu_model": "CPU",
    "arch": "architecture",
    "cpus": "CPUs",
    "kernel": "kernel",
}


@dataclass(frozen=True)
class Disturbance:
    """Something that makes measurements here less sure, with a figure, and its remedy."""

    what: str
    mend: str
    serious: bool = True


def identity(topology: Topology, sys: Sys | None = None) -> dict[str, Any]:
    """Return what identifies this host and its state, as JSON; unknown values are left out."""
    sys = sys or Sys()
    cpuinfo = sys.text("proc/cpuinfo")
    model = _field(cpuinfo, "model name") or _field(cpuinfo, "Processor") or platform.processor()
    raw: dict[str, Any] = {
        "cpu_model": model or "unknown",
        "arch": platform.machine(),
        "kernel": platform.release(),
        "cpus": len(topology.cpus),
        "cpu_list": format_cpu_list([cpu.number for cpu in topology.cpus]),
        "online": format_cpu_list(sys.cpus("sys/devices/system/cpu/online")),
        "cores": topology.cores,
        "sockets": topology.sockets,
        "usable": topology.usable,
        "quota": topology.quota,
        "smt": sys.number("sys/devices/system/cpu/smt/active") == 1,
        "l3": sys.text("sys/devices/system/cpu/cpu0/cache/index3/size"),
        "memory_mib": _memory(sys),
        "hypervisor": hypervisor(sys),
        "governor": ",".join(governors(sys)),
        "boost": boost(sys),
        "thp": _chosen(sys.text("sys/kernel/mm/transparent_hugepage/enabled")),
        "clocksource": sys.text("sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "load1": load(sys),
        "python": platform.python_version(),
    }
    return {key: value for key, value in raw.items() if value not in (None, "", -1)}


def unlike(a: Mapping[str, Any], b: Mapping[str, Any], ignore: Sequence[str] = ()) -> list[str]:
    """Return what tells two hosts apart, as ``fact: A, B``; a fact one side lacks tells none."""
    found = []
    for key in (k for k in FACTS if k not in ignore):
        one, two = a.get(key), b.get(key)
        if one is not None and two is not None and one != two:
            found.append(f"{FACTS[key]}: {str(one)[:60]}, {str(two)[:60]}")
    return found


def hypervisor(sys: Sys) -> str:
    """Return the hypervisor's name, ``yes`` when only its presence is known, or an empty text."""
    flags = _field(sys.text("proc/cpuinfo"), "flags").split()
    vendor = sys.text("sys/class/dmi/id/sys_vendor") or sys.text("sys/hypervisor/type")
    return (vendor or "yes") if "hypervisor" in flags else ""


def governors(sys: Sys) -> list[str]:
    """Return the frequency governors in use."""
    files = sys.glob("sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")
    # An offline CPU (SMT off) keeps its file, which cannot be read.
    return sorted({sys.text(str(p.relative_to(sys.root))) for p in files} - {""})


def boost(sys: Sys) -> bool | None:
    """Return whether the CPU may raise its frequency, None where the kernel does not say."""
    if (no_turbo := sys.number("sys/devices/system/cpu/intel_pstate/no_turbo")) >= 0:
        return no_turbo == 0
    if (flag := sys.number("sys/devices/system/cpu/cpufreq/boost")) >= 0:
        return flag == 1
    return None


def load(sys: Sys) -> float:
    """Return the load average of the last minute."""
    try:
        return float(sys.text("proc/loadavg").split()[0])
    except (IndexError, ValueError):
        return -1.0


def cpu_times(sys: Sys | None = None) -> tuple[float, float]:
    """Return (busy, stolen) CPU seconds of the whole machine since boot."""
    fields = (sys or Sys()).text("proc/stat").partition("\n")[0].split()[1:]
    tick = os.sysconf("SC_CLK_TCK")
    try:
        user, nice, system, _idle, _iowait, irq, soft, steal = (int(f) / tick for f in fields[:8])
    except ValueError:
        return 0.0, 0.0
    return user + nice + system + irq + soft, steal


def oom_kills(sys: Sys | None = None) -> int:
    """Return how many processes the kernel has killed for want of memory so far."""
    match = re.search(r"^oom_kill (\d+)$", (sys or Sys()).text("proc/vmstat"), re.MULTILINE)
    return int(match[1]) if match else 0


def disturbances(topology: Topology, sys: Sys | None = None) -> list[Disturbance]:
    """Return what may disturb a measurement on this machine, worst first."""
    sys = sys or Sys()
    found: list[Disturbance] = []

    def add(what: str, mend: str, serious: bool = True) -> None:
        found.append(Disturbance(what, mend, serious))

    cpus = len(topology.cpus)
    if topology.quota is not None and topology.quota < cpus:
        where = next((f for f in cgroup_folders(sys) if sys.text(f"{f}/cpu.max")), "the cgroup")
        add(
            f"a cgroup gives {topology.quota:g} CPUs of time, {cpus} are allowed",
            f"raise cpu.max in /{where}, or sweep with --threads up to {topology.usable}",
        )
    if (now := load(sys)) > 0.5:
        add(
            f"load average {now:g} on {cpus} CPUs",
            "stop other programs, or wait",
            now > 0.25 * cpus,
        )
    busy, steal = cpu_times(sys)
    if steal > 0.01 * (busy + steal):
        share = 100 * steal / (busy + steal)
        add(
            f"{share:.1f} % of CPU time was stolen by the hypervisor since boot", "a dedicated host"
        )
    if name := hypervisor(sys):
        whose = "" if name == "yes" else f" ({name})"
        add(
            f"a virtual machine{whose}: CPUs may be shared or moved",
            "trust the CPU-time rate and the ratio more than the wall rate; or use bare metal",
            serious=False,
        )
    others = [name for name in governors(sys) if name != "performance"]
    if others:
        add(f"frequency governor {', '.join(others)}", "cpupower frequency-set -g performance")
    if boost(sys):
        add(
            "frequency boost is on: fewer busy CPUs run faster",
            "echo 0 > /sys/devices/system/cpu/cpufreq/boost, or 1 > …/intel_pstate/no_turbo",
            serious=False,
        )
    if any(cpu.smt for cpu in topology.cpus):
        add(
            f"SMT: {cpus} CPUs on {topology.cores} cores",
            f"sweep with --threads up to {topology.cores}, or turn SMT off",
            serious=False,
        )
    clock = sys.text("sys/devices/system/clocksource/clocksource0/current_clocksource")
    if clock and clock not in ("tsc", "kvm-clock", "arch_sys_counter"):
        add(f"clock source {clock} is slow to read", "boot with tsc=reliable, if it is")
    if not sys.cpus("sys/devices/system/cpu/isolated") and cpus > 4:
        add(
            "no isolated CPUs: interrupts and other tasks run on all",
            "isolcpus= and nohz_full=",
            False,
        )
    return sorted(found, key=lambda d: not d.serious)


def _field(cpuinfo: str, name: str) -> str:
    match = re.search(rf"^{name}\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    return match[1].strip() if match else ""


def _memory(sys: Sys) -> int:
    match = re.search(r"^MemTotal:\s+(\d+) kB", sys.text("proc/meminfo"), re.MULTILINE)
    return int(match[1]) >> 10 if match else -1


def _chosen(text: str) -> str:
    match = re.search(r"\[(\w+)\]", text)
    return match[1] if match else ""
