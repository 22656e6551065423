"""Builds what the guest runs: the modules against a kernel's headers, the static fault loop."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from faultbench.errors import FaultbenchError, ResourceError
from faultbench.lab import tools
from faultbench.lab.packages import Kernel, find_tool

GUEST = Path(__file__).parent / "guest"
MODULES = ("faultbench_dev", "faultbench_ab")


def _run(words: list[str | Path], what: str, scratch: Path) -> None:
    # Stopped, compilers leave their temporary files behind: where they are removed with the rest.
    done = tools.run(words, env={**os.environ, "TMPDIR": str(scratch)})
    if done.returncode != 0:
        errors = [x for x in done.stderr.splitlines() if "error" in x.lower()] or [
            *done.stderr.splitlines()[-1:],
            "no message",
        ]
        raise FaultbenchError(f"lab: {what} does not build: {errors[0].strip()}")


def modules(kernel: Kernel, folder: Path) -> list[Path]:
    """Build our two modules in `folder`; returns the .ko files."""
    folder.mkdir(exist_ok=True)
    for source in [GUEST / "Kbuild", *(GUEST / f"{name}.c" for name in MODULES)]:
        shutil.copy(source, folder)
    make(kernel, folder, folder)
    return [folder / f"{name}.ko" for name in MODULES]


def make(kernel: Kernel, folder: Path, source: Path) -> None:
    """Run kbuild in `folder`, a copy of `source`, against the kernel's headers.

    BTF of modules is left out: it needs pahole and nothing here reads it.
    """
    if not kernel.headers.is_dir():
        raise ResourceError(f"lab: {kernel.release} was fetched without headers")
    find_tool("gcc")
    jobs = f"-j{min(4, len(os.sched_getaffinity(0)))}"
    words: list[str | Path] = [find_tool("make"), "-s", jobs, "-C", kernel.headers]
    words += [f"M={folder}", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"]
    try:
        _run(words, f"the module in {source}", folder.parent)
    except FaultbenchError as error:
        # What people can open, not the copy that is gone by then.
        raise FaultbenchError(str(error).replace(str(folder), str(source))) from None


def module_in(kernel: Kernel, source: Path, folder: Path) -> Path:
    """Build a driver author's module from a copy of `source`; returns its .ko."""
    if not source.is_dir():
        raise ResourceError(f"lab run --module {source}: not a folder")
    if not any((source / name).is_file() for name in ("Kbuild", "Makefile")):
        raise ResourceError(
            f"lab run --module {source}: no Kbuild or Makefile; one line is enough: obj-m := NAME.o"
        )
    ignore = shutil.ignore_patterns("*.ko", "*.o", "*.mod", "*.mod.c", ".*.cmd", ".git")
    shutil.copytree(source, folder, ignore=ignore)
    make(kernel, folder, source)
    built = sorted(folder.glob("*.ko"))
    if len(built) != 1:
        names = ", ".join(p.name for p in built) or "none"
        raise ResourceError(f"lab run --module {source}: builds {names}; one module is wanted")
    return built[0]


def fault_loop(folder: Path) -> Path:
    """Build the static fault loop."""
    program = folder / "faultloop"
    flags = ["-std=gnu11", "-O2", "-static", "-pthread", "-D_GNU_SOURCE"]
    _run([find_tool("gcc"), *flags, "-o", program, GUEST / "faultloop.c"], "the fault loop", folder)
    return program
