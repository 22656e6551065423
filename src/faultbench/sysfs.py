"""Small readers: of /sys and /proc under a root that tests replace, of a user's small file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


def parse_cpu_list(text: str) -> list[int]:
    """Return the CPUs of a kernel list such as ``0-3,8``; ValueError on anything else."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        if not part:
            continue
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if not 0 <= low <= high < 1 << 16:
            raise ValueError(f"not a CPU list: {text!r}")
        cpus.extend(range(low, high + 1))
    return cpus


def format_cpu_list(cpus: list[int]) -> str:
    """Return ``0-3,8`` for a list of CPUs."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def small_file(path: Path, most: int) -> str | None:
    """Return the text of a file; None where it is larger: a device may have no end."""
    with path.open("rb") as stream:
        data = stream.read(most + 1)
    return data.decode("utf-8") if len(data) <= most else None


@dataclass(frozen=True)
class Sys:
    """Files below `root`; what is missing, unreadable or odd reads as the default."""

    root: Path = Path("/")

    def text(self, path: str, default: str = "") -> str:
        """Return the stripped contents of a file."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return default

    def number(self, path: str, default: int = -1) -> int:
        """Return a file's whole number."""
        try:
            return int(self.text(path))
        except ValueError:
            return default

    def cpus(self, path: str) -> list[int]:
        """Return a file's CPU list."""
        try:
            return parse_cpu_list(self.text(path))
        except ValueError:
            return []

    def glob(self, pattern: str) -> list[Path]:
        """Return the paths that match, sorted."""
        return sorted(self.root.glob(pattern))
