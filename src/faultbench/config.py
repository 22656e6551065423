"""The options of a sweep: command line and TOML → `Options`, the axes of a plan.

`RAW` lists every option that shapes the plan; a results file keeps their texts, so that
``--resume`` alone goes on with the same sweep.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from faultbench import values
from faultbench.enums import Access, Handler, Map, Order, Path, Pin, WriterOp
from faultbench.errors import UsageError
from faultbench.rules import KERNELS
from faultbench.sysfs import small_file

RAW = (
    "machine path kernel set handler order access map sync fallback threads vmas files mms overlap "
    "writers writer-op writer-rate mapping duration faults repeats warmup pin cost seed "
    "oversubscribe"
).split()
FLAGS = ("sync", "overlap", "oversubscribe")
MAX_CONFIG = 1 << 20
HOUR = 3600 * 10**9


@dataclass(frozen=True)
class Options:
    """Checked axes. Empty tuples and None mean: the default of the machine or of the handler."""

    raw: Mapping[str, str]
    machine: str
    path: tuple[Path, ...]
    kernel: tuple[str, ...]
    knobs: tuple[tuple[tuple[str, str], ...], ...]
    handler: tuple[Handler, ...]
    order: tuple[Order, ...]
    access: tuple[Access, ...]
    map: tuple[Map, ...]
    sync: bool
    fallback: tuple[int, ...]
    threads: str
    vmas: tuple[str, ...]
    files: tuple[str, ...]
    mms: tuple[str, ...]
    overlap: bool
    writers: tuple[int, ...]
    writer_op: tuple[WriterOp, ...]
    writer_rate: tuple[int, ...]
    mapping: tuple[str, ...]
    duration_ns: int
    faults: int
    repeats: int
    warmup: str
    pin: Pin
    cost: str
    seed: int
    oversubscribe: bool

    @property
    def is_default(self) -> bool:
        """Whether this is the default sweep: nothing that shapes it was given."""
        return not self.raw


def read_config(path: str) -> dict[str, str]:
    """Return the options in a TOML file (at its top or in a table ``[sweep]``) as texts."""
    try:
        text = small_file(FilePath(path), MAX_CONFIG)
        if text is None:
            raise UsageError(f"--config {values.show(path)}: larger than 1 MiB")
        raw = tomllib.loads(text)
    except UnicodeDecodeError:
        raise UsageError(f"--config {values.show(path)}: not a text file") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or values.show(str(error))
        raise UsageError(f"--config {values.show(path)}: {reason}") from None
    table = raw.get("sweep", raw)
    if not isinstance(table, dict) or (table is not raw and len(raw) > 1):
        raise UsageError(f"--config {path}: wants the options at the top or in one table [sweep]")
    result = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        values.choice("config", name, RAW)
        result[name] = _text(path, name, value)
    return result


def _text(path: str, name: str, value: Any) -> str:
    if isinstance(value, list) and value and not any(isinstance(v, list | dict) for v in value):
        return ",".join(_text(path, name, item) for item in value)
    if isinstance(value, dict) and name == "set":
        return ",".join(f"{k}={_text(path, name, v).replace(',', '|')}" for k, v in value.items())
    if isinstance(value, bool):
        return "on" if value and name == "set" else "off" if name == "set" else str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise UsageError(f"--config {path}: {name} wants a text, a number or a list of them")


def parse(given: Mapping[str, str | None]) -> Options:
    """Check the options given (by name without dashes); what is missing has its default."""
    raw = {
        name: text for name, text in given.items()
        if text is not None and not (text == "false" and name in FLAGS)
    }  # fmt: skip
    for name, text in raw.items():
        if name not in RAW:
            raise UsageError(f"--{values.show(name)}: unknown option")
        if len(text) > 1 << 16:
            raise UsageError(f"--{name}: longer than 64 KiB")
        values.given(name, text)
    get = raw.get
    if "duration" in raw and "faults" in raw:
        raise UsageError("--duration and --faults: a trial ends by time or by count, give one")
    kernels = tuple(values.items("kernel", raw["kernel"])) if "kernel" in raw else ()
    machine = get("machine", "threads")
    options = Options(
        raw=raw,
        machine=machine,
        path=values.paths(raw["path"]) if "path" in raw else (),
        kernel=kernels,
        knobs=values.knobs(raw["set"].split(";") if "set" in raw else ()),
        handler=values.choices("handler", get("handler", "device-dax,ext4"), Handler),
        order=values.choices("order", raw["order"], Order) if "order" in raw else (),
        access=values.choices("access", get("access", "write"), Access),
        map=values.choices("map", raw["map"], Map) if "map" in raw else (),
        sync=_flag("sync", raw),
        fallback=values.fractions("fallback", get("fallback", "0")),
        threads=get("threads", ""),
        vmas=values.shares("vmas", get("vmas", "private,shared")),
        files=values.shares("files", get("files", "shared")),
        mms=values.shares("mms", get("mms", "shared")),
        overlap=_flag("overlap", raw),
        writers=values.wholes("writers", get("writers", "0,1"), 0, values.MAX_TASKS),
        writer_op=values.choices("writer-op", get("writer-op", "beside"), WriterOp),
        writer_rate=values.rates("writer-rate", get("writer-rate", "0")),
        mapping=values.mappings(raw["mapping"]) if "mapping" in raw else (),
        duration_ns=values.duration("duration", raw["duration"], 10**6, HOUR)
        if "duration" in raw
        else 0,
        faults=values.whole("faults", raw["faults"], 1, 10**12) if "faults" in raw else 0,
        repeats=values.whole("repeats", get("repeats", "6"), 1, 10_000),
        warmup=get("warmup", ""),
        pin=values.choices("pin", get("pin", "core"), Pin)[0],
        cost=get("cost", "default"),
        seed=values.whole("seed", get("seed", "1"), 0, 2**53),
        oversubscribe=_flag("oversubscribe", raw),
    )
    _check(options)
    return options


def _check(options: Options) -> None:
    raw, kernel_machine = options.raw, options.machine == "kernel"
    if not kernel_machine:
        for name in options.kernel:
            values.choice("kernel", name, KERNELS)
        if options.mapping:
            raise UsageError(
                f"--mapping {values.show(raw['mapping'])}: real mappings need --machine kernel; "
                "a model takes --handler"
            )
    elif options.kernel:
        import platform  # noqa: PLC0415 - only for a mistake

        raise UsageError(
            f"--machine kernel --kernel {values.show(raw['kernel'])}: this kernel is "
            f"{platform.release()}; --kernel chooses a modelled one, for threads and virtual"
        )
    if kernel_machine:
        for name in ("set", "handler", "cost", "fallback"):
            if name in raw:
                raise UsageError(
                    f"--machine kernel --{name}: shapes a model; on a real kernel give --mapping"
                )
    if "pin" in raw and "," in raw["pin"]:
        raise UsageError(f"--pin {values.show(raw['pin'])}: one placement a sweep")
    if options.threads:
        values.threads(options.threads, 1)
    if options.warmup:  # by count where --faults says so; of others the plan knows only
        warmup(options, 0 if options.faults else 10**9, 1000)


def warmup(
    options: Options, duration_ns: int, faults: int, least_ns: int = 50_000_000
) -> tuple[int, int]:
    """Return (warmup_ns, warmup_faults) for a trial of that length.

    By time, at least `least_ns` and 10 % of the window; by count, 10 % of the faults.
    """
    text = options.warmup
    if not text:
        return (max(least_ns, duration_ns // 10), 0) if duration_ns else (0, -(-faults // 10))
    if text.endswith("%"):
        ppm = values.fractions("warmup", text)[0]
        return duration_ns * ppm // 1_000_000, faults * ppm // 1_000_000
    if not duration_ns:
        if not text.isdigit():  # on a simulated machine nobody need have typed --faults
            raise UsageError(
                f"--warmup {values.show(text)}: a trial that ends by count (--faults, on virtual "
                "all without writers) warms up by a count or by a share, such as 10%"
            )
        return 0, values.whole("warmup", text, 0, 10**12)
    return values.duration("warmup", text, 0, HOUR), 0


def _flag(name: str, raw: Mapping[str, str]) -> bool:
    return values.choice(name, raw.get(name, "false"), ("true", "false")) == "true"
