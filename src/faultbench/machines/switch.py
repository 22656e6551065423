"""The run-time switch between `retry` and `direct` on the running kernel: our modules' parameter.

faultbench never loads a module. When one is loaded, its ``retry`` parameter is set for a trial and
put back after it; when none is, the message says what to load.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path as FilePath

from faultbench.enums import Path
from faultbench.errors import ResourceError, UsageError
from faultbench.machines import running
from faultbench.machines.mappings import OUR_DEVICE, Mapping, file_system, is_device_dax, text

MODULES = FilePath("/sys/module")
VERSION = "1"  # MODULE_VERSION of both, raised whenever what they switch or count changes
_MAGIC = {0xEF53: "ext4_dax_huge_fault", 0x58465342: "xfs_filemap_huge_fault"}


def handler_symbol(path: str) -> str | None:
    """Return the ->huge_fault() behind a path, where its file system is one we know."""
    try:
        status = FilePath(path).stat()
        if stat.S_ISCHR(status.st_mode):
            return "dev_dax_huge_fault" if is_device_dax(status) else None
    except OSError:
        return None
    return _MAGIC.get(file_system(path))


def parameter(mapping: Mapping) -> FilePath:
    """Return the sysfs file that switches `mapping`'s path.

    Raises `ResourceError` saying what to load or to become when it cannot be switched.
    """
    if mapping.kind == "device" and mapping.path == OUR_DEVICE:
        return _writable(MODULES / "faultbench_dev/parameters/retry", "faultbench_dev.ko", "")
    wanted = handler_symbol(mapping.path) if mapping.path else None
    argument = f" symbol={wanted or 'YOUR_HUGE_FAULT'}"
    file = _writable(MODULES / "faultbench_ab/parameters/retry", "faultbench_ab.ko", argument)
    probed = (file.parent / "symbol").read_text().strip()
    if wanted is not None and probed != wanted:
        raise ResourceError(
            f"faultbench_ab stands in front of {probed}, {mapping.path} faults in {wanted}; "
            f"rmmod faultbench_ab; insmod faultbench_ab.ko{argument}"
        )
    return file


def _writable(file: FilePath, module: str, argument: str) -> FilePath:
    if not file.exists():
        raise ResourceError(
            f"--path needs {module} loaded, which faultbench never does by itself: "
            f"build it (docs/lab.md, bare metal), then insmod {module}{argument}"
        )
    version = text(file.parent.parent / "version")
    if version != VERSION:
        raise ResourceError(
            f"--path: {module} is of version {version or 'unknown'}, this faultbench's is "
            f"{VERSION}; build it again (docs/lab.md, bare metal), rmmod the old, insmod the new"
        )
    if not os.access(file, os.W_OK):
        raise ResourceError(f"--path: no right to write {file}; run as root")
    return file


def check(mapping: Mapping, path: Path | None) -> None:
    """Raise when `path` cannot be had on `mapping`."""
    if path is None:
        return
    if mapping.kind not in ("device", "dax"):
        raise UsageError(
            f"--path {path} --mapping {mapping.kind}: only device: and dax: mappings have a "
            "->huge_fault to send back; leave --path out to fault as this kernel does"
        )
    if path not in (Path.RETRY, Path.DIRECT):
        raise UsageError(f"--path {path}: on a real kernel there are retry and direct")
    if running.per_vma_lock() is False:
        raise ResourceError(
            f"--path {path}: this kernel has no per-VMA locks (CONFIG_PER_VMA_LOCK), so every "
            "fault takes mmap_lock and none is sent back; leave --path out"
        )
    parameter(mapping)


@contextlib.contextmanager
def switched(mapping: Mapping, path: Path | None) -> Iterator[None]:
    """Set the path for the duration of a trial."""
    if path is None:
        yield
        return
    file = parameter(mapping)
    before = file.read_text().strip()
    file.write_text("1" if path is Path.RETRY else "0")
    try:
        yield
    finally:
        file.write_text(before)
