r"""Results files: append-only JSONL, the only reader and writer of them.

    {"kind":"header","schema":1,"faultbench":"…","plan":{…},"host":{…},"costs":{…},"crc32":"…"}
    {"kind":"trial","trial_id":"…","spec":{…},"status":"ok","worker":{…},…,"crc32":"…"}

A line is one ``write`` to an O_APPEND descriptor, then fsync: whoever kills us, a line is whole or
it is the last one and lacks its newline. Trials hold raw integers; rates are computed by `table`.

History of the schema:

1   November 2026: the first.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from types import TracebackType
from typing import Any, Self

from faultbench.errors import DataError, OutputError
from faultbench.model import Trial
from faultbench.recordline import decode, encode

SCHEMA = 1
# From version n to n + 1: (kind of the line, its fields) -> fields.
MIGRATIONS: dict[int, Callable[[str, dict[str, Any]], dict[str, Any]]] = {}

MAX_FILE = 1 << 30
MAX_LINE = 16 << 20
KEPT = "; finished trials are kept, --resume goes on from there"


@dataclass(frozen=True)
class Header:
    """The first line: what was planned, on which host, with which cost profiles."""

    faultbench: str
    plan: dict[str, Any] = field(default_factory=dict)
    host: dict[str, Any] = field(default_factory=dict)
    costs: dict[str, Any] = field(default_factory=dict)  # digest -> {"name", "steps"}
    source: str = "sweep"  # or what was imported

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "schema": SCHEMA,
            "faultbench": self.faultbench,
            "source": self.source,
            "plan": self.plan,
            "host": self.host,
            "costs": self.costs,
        }


@dataclass
class Results:
    """A file's contents; of several records of one trial the last counts (``--retry-failed``)."""

    path: str
    header: Header
    trials: list[Trial]
    notes: list[str] = field(default_factory=list)  # for the user: a torn last line
    end: int = 0  # bytes that hold whole lines


def read(path: str | FilePath) -> Results:
    """Read a results file; a torn last line is dropped and noted.

    `DataError` names file, line and offset of anything else that is not a record of ours.
    """
    return read_each(path, lambda trial: trial)


def read_each(path: str | FilePath, keep: Callable[[Trial], Trial | None]) -> Results:
    """Read a results file as `read` does, but hold of each trial only what `keep` returns."""
    try:
        with FilePath(path).open("rb") as stream:
            return _read(str(path), stream.fileno(), keep)
    except OSError as error:
        raise DataError(f"{path}: {(error.strerror or str(error)).lower()}") from None


def _lines(path: str, data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (number, offset, line); a last line without a newline comes with offset -1."""
    number = offset = 0
    while offset < len(data):
        number += 1
        end = data.find(b"\n", offset)
        line = data[offset : end if end >= 0 else len(data)]
        if len(line) > MAX_LINE:
            raise DataError(f"{path}: line {number} is longer than {MAX_LINE >> 20} MiB")
        yield number, (offset if end >= 0 else -1), line
        if end < 0:
            return
        offset = end + 1


def _read(path: str, fd: int, keep: Callable[[Trial], Trial | None]) -> Results:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path}: not a regular file")
    if status.st_size > MAX_FILE:
        raise DataError(f"{path}: larger than {MAX_FILE >> 30} GiB; not a results file of ours")
    data = os.pread(fd, status.st_size, 0)
    header: Header | None = None
    results = Results(path, Header(""), [])
    version = SCHEMA
    trials: dict[str, Trial | None] = {}
    for number, offset, line in _lines(path, data):
        if offset < 0:
            if header is not None:
                results.notes.append(
                    f"{path}: line {number} was torn ({len(line)} bytes without an end); dropped"
                )
            break
        try:
            raw = decode(line)
            if header is None:
                version = _version(path, raw)
                header = _header(_migrate(version, "header", raw))
            else:
                trial = _trial(_migrate(version, "trial", raw))
                trials[trial.trial_id] = keep(trial)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if header is None:
                raise DataError(
                    f"{path}: not a faultbench results file (line 1: {_say(error)})"
                ) from None
            raise DataError(
                f"{path}: line {number} at byte {offset} is bad: {_say(error)}"
            ) from None
        results.end = offset + len(line) + 1
    if header is None:
        raise DataError(f"{path}: not a faultbench results file (it has no whole first line)")
    results.header = header
    results.trials.extend(trial for trial in trials.values() if trial is not None)
    return results


def _say(error: Exception) -> str:
    text = f"no field {error}" if isinstance(error, KeyError) else str(error)
    return text.splitlines()[0][:120] if text else type(error).__name__


def _version(path: str, raw: dict[str, Any]) -> int:
    if raw.get("kind") != "header":
        raise ValueError("it has no header")
    version = raw.get("schema")
    if type(version) is not int or version < min(MIGRATIONS, default=SCHEMA):
        raise ValueError(f"schema {version!r} was never written")
    if version > SCHEMA:
        raise DataError(
            f"{path}: written in schema {version}, this faultbench reads up to {SCHEMA}; "
            "use a newer one"
        )
    return version


def _migrate(version: int, kind: str, raw: dict[str, Any]) -> dict[str, Any]:
    if raw.pop("kind", None) != kind:
        raise ValueError(f"not a {kind}")
    for step in range(version, SCHEMA):
        raw = MIGRATIONS[step](kind, raw)
    return raw


def _header(raw: dict[str, Any]) -> Header:
    values = {key: raw[key] for key in ("faultbench", "source", "plan", "host", "costs")}
    for key, value in values.items():
        wanted = str if key in ("faultbench", "source") else dict
        if not isinstance(value, wanted):
            raise TypeError(f"{key} is not a {wanted.__name__}")
    return Header(**values)


def _trial(raw: dict[str, Any]) -> Trial:
    claimed = raw.pop("trial_id")
    trial = Trial.from_dict(raw)
    if trial.trial_id != claimed:
        raise ValueError(f"trial_id {claimed!r} is not that of its spec")
    return trial


class Writer:
    """Appends trials to a results file it holds locked; a context manager."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd
        self._kept = ""  # what a sweep, which can be gone on with, says where it cannot write

    @classmethod
    def create(cls, path: str | FilePath, header: Header) -> Self:
        """Begin a new file; `OutputError` if it exists or cannot be written."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            writer = cls(str(path), os.open(path, flags, 0o644))
        except FileExistsError:
            if not FilePath(path).is_file():
                raise OutputError(f"{path}: not a regular file; results need one") from None
            raise OutputError(
                f"{path}: exists; add --resume to go on with it, or name another file with -o"
            ) from None
        except (OSError, ValueError) as error:
            raise OutputError(f"{path}: cannot write results: {_reason(error)}") from None
        try:
            writer._lock()
            writer._write(encode("header", header.to_dict()))
            if header.source == "sweep":
                writer._kept = KEPT
            _sync_folder(FilePath(path).parent)
        except BaseException:
            writer.close()
            FilePath(path).unlink(missing_ok=True)
            raise
        return writer

    @classmethod
    def resume(cls, path: str | FilePath) -> tuple[Self, Results]:
        """Go on with a file: lock it, read it, cut off a torn last line."""
        try:
            writer = cls(str(path), os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC))
        except FileNotFoundError:
            raise OutputError(f"{path}: no such file to resume; leave --resume out") from None
        except (OSError, ValueError) as error:
            raise OutputError(f"{path}: cannot write results: {_reason(error)}") from None
        try:
            writer._lock()
            results = _read(str(path), writer._fd, lambda trial: trial)
            writer._kept = KEPT
            if results.notes:
                os.ftruncate(writer._fd, results.end)
        except OSError as error:
            writer.close()
            raise OutputError(f"{path}: cannot be resumed: {_reason(error)}") from None
        except BaseException:
            writer.close()
            raise
        return writer, results

    def append(self, trial: Trial) -> None:
        """Write one finished trial; when this returns it is on the disk."""
        raw = {"trial_id": trial.trial_id, **trial.to_dict()}
        self._write(encode("trial", raw))

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                f"{self.path}: another faultbench is writing to it; name another file with -o"
            ) from None

    def _write(self, line: bytes) -> None:
        before = os.fstat(self._fd).st_size
        try:
            if os.write(self._fd, line) != len(line):
                raise OSError("disk full")
            os.fsync(self._fd)
        except OSError as error:
            # What is not known to be on the disk must not look as if it were.
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, before)
            raise OutputError(f"{self.path}: {_reason(error)}{self._kept}") from None

    def close(self) -> None:
        """Give up the lock and the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


def _sync_folder(folder: FilePath) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
