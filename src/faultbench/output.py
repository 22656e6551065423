"""Files that are there whole or not at all: written beside, synced, renamed.

`writable` refuses, before any work is done, what must not be overwritten: a measurement cannot be
had again.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from faultbench.errors import OutputError, UsageError

RESULTS = b'{"kind":"header"'  # how a results file begins (`faultbench.records`)
MAX_NAME = 240  # bytes; 255, less what a temporary name adds


def writable(path: str | Path, *inputs: str | Path, option: str = "-o") -> None:
    """Raise where `path` cannot be written or is one of `inputs` or a results file."""
    target, text = Path(path), str(path)
    if text == "-":
        raise UsageError(f"{option} -: wants the name of a file; ./- is one")
    bad = "\0" in text or len(os.fsencode(target.name)) > MAX_NAME
    if bad or not target.name or text.endswith("/") or target.is_dir():
        raise UsageError(f"{option} {text[:60]!r}: wants the name of a file")
    target = _followed(target)
    if not target.parent.is_dir():
        raise OutputError(f"{option} {path}: cannot write: no such folder; make it first")
    if target.exists() and not target.is_file():
        raise OutputError(f"{option} {path}: not a regular file")
    _spare(target, inputs)
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise OutputError(f"{option} {path}: cannot write: no right to")


def writable_figures(prefix: str | Path, *inputs: str | Path, option: str = "-o") -> None:
    """Raise where figures ``prefix-….png`` cannot be written or would replace results."""
    target = Path(prefix)
    if target.name == "" or target.is_dir():
        raise UsageError(
            f"{option} {str(prefix)!r}: wants a prefix of file names, such as {target / 'figure'}"
        )
    writable(target.with_name(f"{target.name}-x.png"), option=option)
    for old in target.parent.iterdir():
        if old.name.startswith(f"{target.name}-") and old.suffix in (".png", ".svg"):
            _spare(old, inputs)


def _spare(target: Path, inputs: tuple[str | Path, ...] = ()) -> None:
    """Raise `OutputError` where `target` is an input or holds results."""
    if not target.exists():
        return
    if any(Path(one).exists() and target.samefile(one) for one in inputs):
        raise OutputError(f"{target}: is read here and would be lost; name another file")
    if target.is_file() and os.access(target, os.R_OK):
        with target.open("rb") as stream:
            if stream.read(len(RESULTS)) == RESULTS:
                raise OutputError(f"{target}: holds results and is not overwritten; name another")


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[IO[str]]:
    """Yield a text stream whose contents become `path` when the block ends well.

    Raises `OutputError` if the place cannot be written; what was there before is then kept. A
    results file is never replaced.
    """
    with (
        replacing_file(path) as name,
        name.open("w", encoding="utf-8", newline="") as stream,
    ):
        yield stream


@contextlib.contextmanager
def replacing_file(path: str | Path) -> Iterator[Path]:
    """Yield an empty file beside `path`, of its suffix, that becomes it when the block ends well.

    For writers that want a name. Otherwise as `replacing`.
    """
    target = _followed(path)
    if target.exists() and not target.is_file():
        raise OutputError(f"{path}: not a regular file")
    _spare(target)
    try:
        fd, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name[:100]}.", suffix=Path(path).suffix[:20]
        )
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot write: {_reason(error)}") from None
    try:
        umask = os.umask(0)
        os.umask(umask)
        os.fchmod(fd, 0o666 & ~umask)
        os.close(fd)
        yield Path(name)
        with Path(name).open("rb") as written:
            os.fsync(written.fileno())
        Path(name).replace(target)
    except OSError as error:
        raise OutputError(f"{path}: cannot write: {_reason(error)}") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()


def _followed(path: str | Path) -> Path:
    """Return what `path` leads to: a link stays, and what it names gets the contents."""
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OutputError(f"{path}: a link that leads to itself")
    return target


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
