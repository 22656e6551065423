"""What the running kernel is built with and forbids."""

from __future__ import annotations

import contextlib
import gzip
import platform
import re
from pathlib import Path

LOCKDOWN = Path("/sys/kernel/security/lockdown")


def per_vma_lock() -> bool | None:
    """Whether this kernel is built with CONFIG_PER_VMA_LOCK; None where nothing tells."""
    text = ""
    with contextlib.suppress(OSError):
        text = Path(f"/boot/config-{platform.release()}").read_text()
    if not text:
        with contextlib.suppress(OSError):
            text = gzip.decompress(Path("/proc/config.gz").read_bytes()).decode()
    if text:
        return "CONFIG_PER_VMA_LOCK=y" in text
    match = re.match(r"(\d+)\.(\d+)", platform.release())
    if match and (int(match[1]), int(match[2])) < (6, 4):
        return False
    return None


def lockdown() -> str:
    """Return `integrity` or `confidentiality` where the kernel is locked down, else nothing."""
    text = ""
    with contextlib.suppress(OSError):
        text = LOCKDOWN.read_text()
    chosen = re.search(r"\[(\w+)\]", text)
    return chosen[1] if chosen and chosen[1] != "none" else ""
