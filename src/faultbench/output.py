"""Files that are there whole or not at all: written beside, synced, renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from faultbench.errors import OutputError


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[IO[str]]:
    """Yield a text stream whose contents become `path` when the block ends well.

    Raises `OutputError` if the place cannot be written; what was there before is then kept.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        raise OutputError(f"{path}: not a regular file")
    try:
        fd, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot write: {_reason(error)}") from None
    try:
        with os.fdopen(fd, "w", encoding="utf-8", newline="") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            umask = os.umask(0)
            os.umask(umask)
            os.fchmod(stream.fileno(), 0o666 & ~umask)
        Path(name).replace(target)
    except OSError as error:
        raise OutputError(f"{path}: cannot write: {_reason(error)}") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
