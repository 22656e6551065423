"""The context switch alone: registers, stacks and alignment, on x86-64, aarch64 and by ucontext."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-I", "src/_core"]
SOURCES = ["tests/machines/c/fibers.c", "src/_core/machine/fibers.c"]
NATIVE = os.environ.get("CC") or "gcc"
CASES = {  # name: compiler, flags, what runs it
    "native": (NATIVE, [], []),
    "ucontext": (NATIVE, ["-DFB_FIBER_UCONTEXT"], []),
    "aarch64": ("aarch64-linux-gnu-gcc", ["-static"], ["qemu-aarch64"]),
    "aarch64-ucontext": (
        "aarch64-linux-gnu-gcc",
        ["-static", "-DFB_FIBER_UCONTEXT"],
        ["qemu-aarch64"],
    ),
}


def build(case: str, target: Path, *more: str, switch: Path | None = None) -> list[str]:
    """Compile the test for `case`; returns how to run it."""
    compiler, flags, runner = CASES[case]
    for tool in (compiler, *runner):
        if not shutil.which(tool):
            message = f"{tool} is not installed"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
    if case == "native" and platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip("ucontext is this machine's own way")
    sources = [SOURCES[0], os.fspath(switch or SOURCES[1])]
    subprocess.run(
        [compiler, *FLAGS, *flags, *more, *sources, "-o", os.fspath(target)], cwd=ROOT, check=True
    )
    return [*runner, os.fspath(target)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("optimised", ["-O0", "-O2"])
def test_a_switch_keeps_what_a_callee_must_keep(case: str, optimised: str, tmp_path: Path) -> None:
    run = build(case, tmp_path / "fibers", optimised)
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "ok 7000\n"), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("case", "lost", "instead"),
    [
        ("native", "popq %r13", "addq $8, %rsp"),
        ("aarch64", "ldp x25, x26, [sp, #48]", "ldp x25, x9, [sp, #48]"),
        ("aarch64", "ldp d12, d13, [sp, #128]", "nop"),
    ],
)
def test_a_register_that_is_not_restored_is_found(
    case: str, lost: str, instead: str, tmp_path: Path
) -> None:
    """The test itself can fail: one restore taken out of the switch."""
    if case == "native" and platform.machine() != "x86_64":
        pytest.skip("the instruction is x86-64's")
    source = (ROOT / SOURCES[1]).read_text()
    assert source.count(lost) == 1
    broken = tmp_path / "broken.c"
    broken.write_text(source.replace(lost, instead))
    run = build(case, tmp_path / "fibers", switch=broken)
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "callee-saved register" in done.stdout
