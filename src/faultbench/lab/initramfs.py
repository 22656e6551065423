"""The guest's file system: a cpio archive written here, so that neither cpio nor root is needed."""

from __future__ import annotations

import lzma
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from faultbench.errors import ResourceError
from faultbench.lab.build import GUEST
from faultbench.lab.packages import Kernel, find_tool

_DIRECTORY, _FILE, _LINK = 0o040755, 0o100755, 0o120777


class Archive:
    """A "newc" cpio archive (Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._seen: set[str] = set()

    def _entry(self, name: str, mode: int, data: bytes) -> None:
        encoded = name.encode() + b"\0"
        fields = [len(self._seen) + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0]
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        self._parts += [head, b"\0" * (-len(head) % 4), data, b"\0" * (-len(data) % 4)]
        self._seen.add(name)

    def folder(self, name: str) -> None:
        """Add a folder and those above it."""
        parts = name.strip("/").split("/")
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            if path not in self._seen:
                self._entry(path, _DIRECTORY, b"")

    def file(self, name: str, data: bytes) -> None:
        """Add a file, executable."""
        name = name.lstrip("/")
        if name in self._seen:
            return
        if "/" in name:
            self.folder(name.rpartition("/")[0])
        self._entry(name, _FILE, data)

    def link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        self._entry(name.lstrip("/"), _LINK, target.encode())

    def bytes(self) -> bytes:
        """Return the archive."""
        self._entry("TRAILER!!!", 0, b"")
        return b"".join(self._parts)


def _module_files(kernel: Kernel, names: Iterable[str]) -> list[Path]:
    """Return the .ko files of modules and what they depend on, in the order of loading."""
    files: dict[Path, None] = {}
    tool = [find_tool("modprobe"), "-C", "/dev/null"]
    for name in names:
        done = subprocess.run(
            [*tool, "-d", str(kernel.root), "-S", kernel.release, "--show-depends", name],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ResourceError(f"lab: kernel {kernel.release} has no module {name}")
        for line in done.stdout.splitlines():
            if line.startswith("insmod "):
                files[Path(line.split()[1])] = None
    return list(files)


def _unpacked(module: Path) -> tuple[str, bytes]:
    data = module.read_bytes()
    if module.suffix == ".xz":
        return module.stem, lzma.decompress(data)
    if module.suffix == ".zst":
        done = subprocess.run([find_tool("zstd"), "-dcq", module], capture_output=True, check=True)
        return module.stem, done.stdout
    return module.name, data


def _program(archive: Archive, tool: str) -> None:
    """Add a dynamic program of the host with its libraries."""
    path = Path(find_tool(tool)).resolve()
    archive.file(f"bin/{tool}", path.read_bytes())
    listing = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    for library in re.findall(r"(/\S+)", listing):
        archive.file(library, Path(library).resolve().read_bytes())


def make(
    kernel: Kernel,
    script: str,
    program: Path,
    *,
    load: Iterable[str] = ("nd_e820", "nd_pmem", "crc32c_generic", "ext4", "xfs"),
    tools: Iterable[str] = ("mkfs.ext4", "mkfs.xfs"),
    modules: Iterable[Path] = (),
) -> bytes:
    """Return the archive: busybox, the fault loop, modules in order, and the script of cases."""
    archive = Archive()
    for name in ("proc", "sys", "dev", "tmp", "bin", "mods", "mnt/ext4", "mnt/xfs"):
        archive.folder(name)
    archive.file("bin/busybox", Path(find_tool("busybox")).read_bytes())
    archive.link("bin/sh", "busybox")
    archive.file("bin/faultloop", program.read_bytes())
    for tool in tools:
        _program(archive, tool)
    if Path("/etc/mke2fs.conf").exists():
        archive.file("etc/mke2fs.conf", Path("/etc/mke2fs.conf").read_bytes())
    order = []
    for module in _module_files(kernel, load):
        name, data = _unpacked(module)
        archive.file(f"mods/{name}", data)
        order.append(name)
    archive.file("mods/order", "".join(f"{name}\n" for name in order).encode())
    for module in modules:
        archive.file(f"mods/{module.name}", module.read_bytes())
    archive.file("lab.sh", script.encode())
    archive.file("init", (GUEST / "init").read_bytes())
    return archive.bytes()
