"""Boots a kernel under QEMU and brings back the lines of its second serial port.

KVM only where a trial boot reached userspace (`usable_kvm`), else TCG: that /dev/kvm opens proves
nothing. QEMU runs in a session of its own and dies with us, after Ctrl-C too.

Where two emulated CPUs run kernel code while it is patched (a tracepoint turned on), QEMU 7.2 and
8.0 at times execute the breakpoint that is gone already, and the guest's kernel dies of it: int3
("qemu-x86_64 booting with 8.0.0 stil see int3", linux-kernel, July 2023). That says nothing about
the kernel under test, so `session` boots again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from faultbench.errors import FaultbenchError, ResourceError
from faultbench.lab.guest_layout import MEMORY, kernel_arguments
from faultbench.lab.packages import Kernel, find_tool
from faultbench.lab.tools import die_with_parent

TRIAL_SECONDS = 10.0
_T = TypeVar("_T")
_STALE_BREAKPOINT = b"int3: 0000 ["  # the head of the oops


class HungError(FaultbenchError):
    """A guest that says nothing any more."""


class EmulatorError(FaultbenchError):
    """A guest whose kernel died of what the emulator did."""


@dataclass(frozen=True)
class Options:
    """How to boot."""

    cpus: int = 2
    accel: str = "tcg"
    icount: bool = False  # one virtual ns is one instruction
    boot_seconds: float = 60.0
    silent_seconds: float = 60.0  # no line for so long: the guest hangs
    keep: bool = False  # leave initrd, console and data where they are


def _command(kernel: Kernel, initrd: Path, data: Path, options: Options) -> list[str]:
    if options.icount:
        accel = ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]
    elif options.accel == "kvm":
        accel = ["-accel", "kvm"]
    else:
        accel = ["-accel", "tcg,thread=multi"]
    # Opening and closing a perf tracepoint waits for RCU: expedited, a case takes a third.
    append = "console=ttyS0 panic=-1 quiet mitigations=off rcupdate.rcu_expedited=1 "
    append += kernel_arguments()
    return [
        find_tool("qemu-system-x86_64"),
        *accel,
        *("-cpu", "host" if options.accel == "kvm" else "max", "-M", "q35"),
        *("-smp", str(options.cpus), "-m", MEMORY, "-nic", "none", "-display", "none"),
        *("-no-reboot", "-no-user-config", "-serial", "stdio", "-serial", f"file:{data}"),
        *("-kernel", str(kernel.image), "-initrd", str(initrd), "-append", append),
    ]


class Guest:
    """A running guest; a context manager that leaves nothing behind."""

    def __init__(self, kernel: Kernel, archive: bytes, options: Options) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="faultbench-lab-"))
        self.options = options
        self._data = self.folder / "data"
        self._console = self.folder / "console"
        self._data.touch()
        initrd = self.folder / "initrd"
        try:
            initrd.write_bytes(archive)
            with self._console.open("wb") as console:
                self._qemu = subprocess.Popen(
                    _command(kernel, initrd, self._data, options),
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=die_with_parent,  # noqa: PLW1509 - no threads of ours are running
                )
        except BaseException:
            self._clean()
            raise

    def _clean(self) -> None:
        if not self.options.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Raise `EmulatorError` where the emulator's fault makes worthless what the guest said."""
        if self._qemu.poll() is None:
            self._qemu.kill()
        self._qemu.wait()
        raced = self.options.accel == "tcg" and self.options.cpus > 1
        stale = raced and _STALE_BREAKPOINT in self._console.read_bytes()
        self._clean()
        if stale and (error is None or isinstance(error, FaultbenchError)):
            raise EmulatorError(
                "lab: the emulator ran a breakpoint that the guest's kernel had taken back, as "
                "QEMU 7.2 and 8.0 do at times; run it again"
            ) from error

    def console(self, lines: int = 15) -> str:
        """Return the end of what the guest's console showed."""
        text = self._console.read_bytes().decode(errors="replace")
        clean = ["".join(c for c in x if c.isprintable()) for x in text.splitlines()]
        return "\n".join(f"    | {line}" for line in clean[-lines:] if line.strip())

    def lines(self, on_silence: Callable[[str], Exception] | None = None) -> Iterator[str]:
        """Yield the guest's lines until END.

        A guest that does not come up, says nothing for too long or ends early is an error that
        shows its console; `on_silence` makes another error from the last line seen.
        """
        began = heard = time.monotonic()
        booted, last, buffer = False, "", b""
        with self._data.open("rb") as stream:
            while True:
                ended = self._qemu.poll() is not None
                chunk = stream.read()
                if chunk:
                    heard = time.monotonic()
                    buffer += chunk.replace(b"\r", b"")
                    *whole, buffer = buffer.split(b"\n")
                    for raw in whole:
                        last = raw.decode(errors="replace")
                        booted = True
                        if last == "END":
                            return
                        yield last
                    continue
                if ended:
                    raise FaultbenchError(
                        f"lab: the guest ended early{self._after(last)}; its console:\n"
                        f"{self.console()}"
                    )
                now = time.monotonic()
                if not booted and now - began > self.options.boot_seconds:
                    raise ResourceError(
                        f"lab: the guest did not boot within {self.options.boot_seconds:.0f} s; "
                        f"its console:\n{self.console()}"
                    )
                if booted and now - heard > self.options.silent_seconds:
                    if on_silence is not None:
                        raise on_silence(last)
                    raise HungError(
                        f"lab: the guest hangs{self._after(last)}; its console:\n{self.console()}"
                    )
                time.sleep(0.02)

    @staticmethod
    def _after(last: str) -> str:
        return f" after {last[:60]!r}" if last else ""


def session(
    kernel: Kernel,
    archive: bytes,
    options: Options,
    say: Callable[[str], None],
    use: Callable[[Guest], _T],
) -> _T:
    """Boot and return what `use` makes of the guest.

    Boots again, and says so, after the emulator's fault (twice at most) and after a guest that
    hangs (once: an emulated CPU of 6.1 was seen to stall in its boot).
    """
    left: dict[type[FaultbenchError], int] = {EmulatorError: 2, HungError: 1}
    while True:
        try:
            with Guest(kernel, archive, options) as guest:
                if options.keep:
                    say(f"{kernel.release}: kept in {guest.folder}")
                return use(guest)
        except (EmulatorError, HungError) as error:
            if not left[type(error)]:
                raise
            left[type(error)] -= 1
            say(f"{str(error).partition('; ')[0]}; booting once more")


def usable_kvm(kernel: Kernel, archive: bytes) -> bool:
    """Whether a trial boot under KVM reaches userspace within ten seconds."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    options = Options(accel="kvm", boot_seconds=TRIAL_SECONDS, silent_seconds=TRIAL_SECONDS)
    try:
        with Guest(kernel, archive, options) as guest:
            return any(line.startswith("READY") for line in guest.lines())
    except FaultbenchError:
        return False


def accelerator(kernel: Kernel, archive: bytes) -> str:
    """Return kvm where a trial boot proved it, else tcg; the verdict is kept with the kernel."""
    note = kernel.root / f"kvm-{os.uname().release}"
    with contextlib.suppress(OSError):
        return note.read_text()
    verdict = "kvm" if usable_kvm(kernel, archive) else "tcg"
    with contextlib.suppress(OSError):
        note.write_text(verdict)
    return verdict
