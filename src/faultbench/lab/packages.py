"""Kernels from the distribution's packages: looked up, downloaded, unpacked, kept for offline use.

Nothing is installed and nothing needs root: ``apt-get download`` and ``dpkg-deb -x``.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from faultbench.errors import ResourceError
from faultbench.lab import tools

SERIES = ("6.12", "6.1")  # direct; mmap-lock
Say = Callable[[str], None]
GUEST_TOOLS = ("gcc", "make", "qemu-system-x86_64", "busybox", "modprobe")
DISK_TOOLS = ("mkfs.ext4", "mkfs.xfs")
_FLAVOURS = ("cloud-amd64", "amd64")  # the cloud flavour is a third of the size and has DAX


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel."""

    series: str
    release: str  # as uname -r
    version: str  # of the package
    root: Path

    @property
    def image(self) -> Path:
        """What QEMU boots."""
        return self.root / "boot" / f"vmlinuz-{self.release}"

    @property
    def headers(self) -> Path:
        """Where modules are built against; only where headers were fetched."""
        return self.root / "usr/src" / f"linux-headers-{self.release}"


def cache_dir() -> Path:
    """Return the folder that keeps kernels, made if need be."""
    base = os.environ.get("FAULTBENCH_LAB_CACHE") or (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "faultbench/lab"
    )
    folder = Path(base)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"lab: cannot write the cache {folder}: {error.strerror}; "
            "set FAULTBENCH_LAB_CACHE to another folder"
        ) from None
    return folder


def fetch(series: str, say: Say = print, *, offline: bool = False) -> Kernel:
    """Return the newest kernel of a series (``6.12``), from the cache where it is there.

    `say` is told what is downloaded.
    Raises `ResourceError` when the packages cannot be had and none is cached.
    """
    found = None if offline else _look_up(series)
    if found is None:
        if (kernel := _newest_cached(series)) is not None:
            return kernel
        raise ResourceError(
            f"lab: no kernel {series} in the package index and none cached in {cache_dir()}; "
            "run `apt-get update`, or `faultbench lab fetch` where there is a network"
        )
    release, version = found
    return _cached(series, release, version) or _download(series, release, version, say)


def _apt(*words: str) -> str:
    try:
        done = tools.run(words, env=_env())
    except FileNotFoundError:
        raise ResourceError(
            f"lab: {words[0]} not found: the laboratory takes its kernels from Debian packages"
        ) from None
    return done.stdout if done.returncode == 0 else ""


def _must(*words: str | Path) -> None:
    done = tools.run(words, env=_env())
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        do = "free some space, or set FAULTBENCH_LAB_CACHE to another folder"
        if "space" not in said:
            do = f"remove {cache_dir()} and fetch again"
        raise ResourceError(f"lab: {Path(words[0]).name}: {said}; {do}")


def _env() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


def _depends(package: str) -> list[str]:
    return re.findall(r"^\s+Depends: (\S+)", _apt("apt-cache", "depends", package), re.MULTILINE)


def _look_up(series: str) -> tuple[str, str] | None:
    """Return (release, package version) behind the distribution's meta-packages."""
    if shutil.which("apt-cache") is None:
        return None
    for flavour in _FLAVOURS:
        for meta in (f"linux-image-{series}-{flavour}", f"linux-image-{flavour}"):
            for image in _depends(meta):
                release = image.removeprefix("linux-image-")
                if release.startswith(f"{series}."):
                    policy = _apt("apt-cache", "policy", image)
                    if match := re.search(r"Candidate: (\S+)", policy):
                        return release, match[1]
    return None


def _cached(series: str, release: str, version: str) -> Kernel | None:
    root = cache_dir() / release
    stamp = root / "version"
    if not stamp.is_file() or stamp.read_text() != version:
        return None
    kernel = Kernel(series, release, version, root)
    return kernel if kernel.image.is_file() else None


def _newest_cached(series: str) -> Kernel | None:
    kernels = []
    for stamp in cache_dir().glob(f"{series}.*/version"):
        kernel = Kernel(series, stamp.parent.name, stamp.read_text(), stamp.parent)
        if kernel.image.is_file():
            kernels.append((stamp.stat().st_mtime, kernel))
    return max(kernels, key=lambda pair: pair[0])[1] if kernels else None


@contextlib.contextmanager
def scratch(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """Return a private folder that is gone afterwards, whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _packages(series: str, release: str) -> list[str]:
    """Image, and for a kernel that takes our modules its headers and their tools."""
    packages = [f"linux-image-{release}"]
    if series != "6.1":
        headers = f"linux-headers-{release}"
        packages += [headers, *(p for p in _depends(headers) if "common" in p or "kbuild" in p)]
    return packages


def _download(series: str, release: str, version: str, say: Say) -> Kernel:
    need("apt-get", "dpkg-deb", "depmod")
    target = cache_dir() / release
    with scratch(f".{release}.", cache_dir()) as folder:
        debs, root = folder / "debs", folder / "root"
        debs.mkdir()
        packages = _packages(series, release)
        for number, package in enumerate(packages, 1):
            say(f"{release}: downloading {package} ({number} of {len(packages)})")
            done = tools.run(["apt-get", "download", "-q", package], cwd=debs, env=_env())
            if done.returncode == 0:
                continue
            lines = [x for x in done.stderr.splitlines() if x.startswith("E:")]
            if (kernel := _newest_cached(series)) is not None:
                return kernel
            raise ResourceError(
                f"lab: apt-get download {package} failed: "
                f"{lines[0] if lines else 'no reason given'}; check the network, or apt-get update"
            )
        size = sum(deb.stat().st_size for deb in debs.iterdir()) >> 20
        say(f"{release}: unpacking {size} MB into {target}")
        for deb in sorted(debs.iterdir()):
            _must("dpkg-deb", "-x", deb, root)
        _point_headers(root, target)
        if series != "6.1" or not (root / "lib/modules" / release / "modules.dep").exists():
            _must(find_tool("depmod"), "-b", root, release)
        (root / "version").write_text(version)
        shutil.rmtree(target, ignore_errors=True)
        root.rename(target)
    return Kernel(series, release, version, target)


def _point_headers(root: Path, target: Path) -> None:
    """Debian's header Makefiles include each other by absolute path."""
    for makefile in root.glob("usr/src/linux-headers-*/Makefile"):
        text = makefile.read_text()
        if "/usr/src/" in text:
            makefile.write_text(text.replace("/usr/src/", f"{target}/usr/src/"))


def _which(tool: str) -> str | None:
    """Find a tool that Debian may keep out of a user's PATH."""
    return shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin")


def find_tool(tool: str) -> str:
    """Return a tool's path; `ResourceError` names its package."""
    need(tool)
    found = _which(tool)
    assert found is not None
    return found


def need(*names: str) -> None:
    """Raise `ResourceError` when tools are missing, all of them and their packages at once."""
    missing = [name for name in names if _which(name) is None]
    if missing:
        install = " ".join(sorted({PACKAGE_OF.get(name, name) for name in missing}))
        raise ResourceError(f"lab: {', '.join(missing)} not found; apt-get install {install}")


PACKAGE_OF = {
    "apt-get": "apt",
    "depmod": "kmod",
    "dpkg-deb": "dpkg",
    "modprobe": "kmod",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "busybox": "busybox-static",
    "qemu-system-x86_64": "qemu-system-x86",
}
