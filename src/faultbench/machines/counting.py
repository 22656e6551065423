"""Whether this kernel lets us count: tracepoint ids, and in words why a count is missing."""

from __future__ import annotations

import ctypes
import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path as FilePath

from faultbench.machines import running
from faultbench.machines.mappings import text

_TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_CAP_SYS_ADMIN, _CAP_PERFMON = 1 << 21, 1 << 38
_CLONE_NEWNS, _MS_REC_PRIVATE = 0x00020000, 0x44000


def tracepoint_ids(events: Sequence[str]) -> list[int]:
    """Return each event's id, or -errno of why it has none.

    Where tracefs is not mounted and we are root, a child mounts it in a mount namespace of its
    own, so that nothing is left behind.
    """
    ids = _read_ids(events)
    if os.geteuid() == 0 and not any(FilePath(root, "events").is_dir() for root in _TRACEFS):
        ids = _in_private_mount(events) or ids
    return ids


def _read_ids(events: Sequence[str]) -> list[int]:
    return [_read_id(event) for event in events]


def _read_id(event: str) -> int:
    worst = errno.ENOENT
    for root in _TRACEFS:
        try:
            return int(FilePath(root, "events", event, "id").read_text())
        except PermissionError:
            worst = errno.EACCES
        except (OSError, ValueError):
            continue
    return -worst


def _in_private_mount(events: Sequence[str]) -> list[int]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            libc = ctypes.CDLL(None)
            target = _TRACEFS[0].encode()
            if (
                libc.unshare(_CLONE_NEWNS) == 0
                and libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None) == 0
                and libc.mount(b"tracefs", target, b"tracefs", 0, None) == 0
            ):
                os.write(writer, " ".join(map(str, _read_ids(events))).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return [int(word) for word in said.split()]


def _may_count() -> bool:
    """Whether we have CAP_PERFMON, or the older CAP_SYS_ADMIN that includes it.

    Without, whether tracefs is mounted can often not even be seen, and is not what is missing.
    """
    status = text(FilePath("/proc/self/status"))
    match = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    effective = int(match[1], 16) if match else 0
    return bool(effective & (_CAP_PERFMON | _CAP_SYS_ADMIN))


def reason(code: int) -> str:
    """Say why a count is missing, from its errno."""
    if code in (errno.ENOENT, errno.EACCES, errno.EPERM) and not _may_count():
        return "counting needs root or CAP_PERFMON, and leave to read tracefs"
    if code == errno.ENOENT:
        mounted = any(FilePath(root, "events").is_dir() for root in _TRACEFS)
        if mounted:
            return "this kernel has no such tracepoint"
        return "tracefs is not mounted (mount -t tracefs tracefs /sys/kernel/tracing)"
    if code in (errno.EACCES, errno.EPERM) and os.geteuid() == 0 and (kind := running.lockdown()):
        return (
            f"kernel lockdown ({kind}) forbids it, even to root; boot without lockdown= on the "
            "command line, and with Secure Boot off where that sets it"
        )
    if code in (errno.EACCES, errno.EPERM):
        return "no leave to read tracefs, or to count (a container's seccomp or LSM rules?)"
    return f"the kernel refused to count: {os.strerror(code)}"
