"""Builds the C torture of ``tests/core/c`` over the shipped headers and runs it."""

import functools
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADERS = ROOT / "src/_core"
SOURCES = Path(__file__).parent / "c"
CFLAGS = [
    *("-std=gnu11", "-g1", "-fno-strict-aliasing", "-Wall", "-Wextra", "-Werror"),
    *("-Wno-unused-function", "-D_GNU_SOURCE", "-pthread", f"-I{HEADERS}"),
]
# Real threads race as the shipped -O2 lets them. On one thread the seam alone says what is seen
# when, whatever the compiler moves; and AddressSanitizer asks for -O1. It compiles twice as fast.
BUILDS = {
    "threads": ["-O2"],
    "tsan": ["-O2", "-fsanitize=thread", "-Werror=tsan"],
    "asan": ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "single": ["-O1", "-DFB_MACHINE_SINGLE"],
    "schedules": ["-O1", f"-I{SOURCES}", '-DFB_MACHINE_HEADER="sched.h"'],
}
# The file that each torture is in
FILES = {
    **dict.fromkeys(("qspinlock", "qrwlock"), "spinlock"),
    **dict.fromkeys(("rwsem", "starve"), "rwsem"),
    **dict.fromkeys(("rcu", "srcu", "osq"), "rcu"),
    **dict.fromkeys(("percpu_rwsem", "seqcount"), "percpu"),
    "vma_lock": "vma_lock",
    "script": "script",
    "spin_script": "spin_script",
}
HELD, VIOLATED, WATCHDOG, TSAN = 0, 1, 3, 66


@dataclass(frozen=True)
class Outcome:
    """One run: its exit code, what it reported and what it said on stderr."""

    code: int
    results: dict[str, int]
    stderr: str


@functools.cache
def build_dir() -> Path:
    """Return a folder for this session's binaries."""
    return Path(tempfile.mkdtemp(prefix="faultbench-torture-"))


@functools.cache
def compiler() -> str:
    """Return the C compiler; without one these tests are skipped, in CI they fail."""
    cc = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if not cc:
        if os.environ.get("CI"):
            pytest.fail("no C compiler")
        pytest.skip("no C compiler")
    return cc


def compile_to(target: Path, *args: str) -> Path:
    """Run the compiler; what it says is the failure's message."""
    command = [compiler(), *CFLAGS, *args, "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return target


@functools.cache
def main_object(kind: str) -> Path:
    """Compile the torture's main once for each kind: it has no mutants."""
    source = str(SOURCES / "main.c")
    return compile_to(build_dir() / f"main-{kind}.o", *BUILDS[kind], "-c", source)


def build(torture: str, kind: str, *flags: str, extra: tuple[str, ...] = ()) -> Path:
    """Compile the file that a torture is in for one of BUILDS, once a session."""
    return build_file(FILES[torture], kind, flags, extra)


@functools.cache
def build_file(file: str, kind: str, flags: tuple[str, ...], extra: tuple[str, ...]) -> Path:
    sources = [main_object(kind), *(SOURCES / e for e in (f"{file}.c", *extra))]
    name = re.sub(r"\W+", "_", "-".join([file, kind, *flags]))[-200:]
    return compile_to(build_dir() / name, *BUILDS[kind], *flags, *map(str, sources))


def run(binary: Path, torture: str, *args: str, timeout: float = 100, **env: str) -> Outcome:
    """Run it; the binary's own watchdog ends one that hangs."""
    variables = {**os.environ, "TSAN_OPTIONS": f"exitcode={TSAN} halt_on_error=1", **env}
    done = subprocess.run(
        [str(binary), torture, *args],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=timeout,
        env=variables,
    )
    pairs = (word.split("=") for word in done.stdout.split())
    return Outcome(done.returncode, {k: int(v) for k, v in pairs}, done.stderr)


def torture(name: str, kind: str, *args: str, timeout: float = 100) -> Outcome:
    """Build and run the headers as they are; anything but an end without a complaint fails."""
    outcome = run(build(name, kind), name, *args, timeout=timeout)
    assert outcome.code == HELD, (
        f"{name} {' '.join(args)} ({kind}): {outcome.code}\n{outcome.stderr}"
    )
    return outcome
