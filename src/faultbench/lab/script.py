"""The guest's script: file systems and files once, then the cases of each probed handler."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from faultbench.enums import Handler, Path
from faultbench.lab.cases import EOF_AT, FAULT_SYMBOL, FILE_BYTES, SYMBOL, Case
from faultbench.lab.guest_layout import PUD_PHYS

DEVICE_PARAMETERS = "/sys/module/faultbench_dev/parameters"
PROBE_PARAMETERS = "/sys/module/faultbench_ab/parameters"

# A file system that cannot give aligned 2 MiB extents would make every case a fallback. Nothing is
# left to ext4lazyinit, which begins up to 5 s after the mount, at random, on the measured CPU.
_EXT4 = """
lazy=lazy_itable_init=0,lazy_journal_init=0
mkfs.ext4 -q -b 4096 -E stride=512,stripe_width=512,$lazy -F /dev/pmem0 2>&1 &&
	mount -t ext4 -o dax=always /dev/pmem0 /mnt/ext4 || say "FAIL ext4 on DAX"
"""
_XFS = """
mkfs.xfs -q -f -m reflink=0 -d agcount=2,su=2m,sw=1,extszinherit=512 -l su=4k /dev/pmem1 2>&1 &&
	mount -t xfs -o dax=always /dev/pmem1 /mnt/xfs || say "FAIL xfs on DAX"
"""
_FUNCTIONS = """
faultloop hold=1 &
# one ID COUNTS-FOLDER ARGUMENTS...
one() {
	id=$1 counts=$2
	shift 2
	[ "$counts" = - ] || echo 0 > $counts/counts
	say "LOOP $id $(faultloop "$@" 2>&1)"
	[ "$counts" = - ] || say "COUNTS $id" $(cat $counts/counts)
}
"""
# As `audit` maps it for a user who may only read it.
_READ_ONLY = """
faultloop read_only=1 access=0 fresh=1 faults=1 slice=2097152 /dev/faultbench > /dev/null ||
	say "FAIL a read-only mapping of /dev/faultbench"
"""


def _files(folder: str) -> str:
    """Make a file of aligned extents, one that ends inside a 2 MiB range, one of 1 MiB extents."""
    mib = FILE_BYTES >> 20
    return f"""
dd if=/dev/zero of={folder}/file bs=2M count={mib // 2} 2>/dev/null
dd if=/dev/zero of={folder}/eof bs=2M count={EOF_AT >> 21} 2>/dev/null
dd if=/dev/zero of={folder}/eof bs=4096 count=1 seek={EOF_AT >> 12} conv=notrunc 2>/dev/null
dd if=/dev/zero of={folder}/short bs=2M count={mib // 2} 2>/dev/null
faultloop punch=1 {folder}/short
"""


def _probe(handler: Handler) -> Handler:
    return Handler.DRIVER if handler is Handler.DRIVER_RETRY else handler


def _group(handler: Handler, cases: list[tuple[int, Case]]) -> Iterable[str]:
    """Lines of one handler's cases; the device answering RETRY by itself needs no probe."""
    own = handler is Handler.DRIVER_RETRY
    if own:
        yield f"echo 1 > {DEVICE_PARAMETERS}/retry"
    else:
        fault = f" fault={FAULT_SYMBOL[handler]}" if handler in FAULT_SYMBOL else ""
        yield f"insmod /mods/faultbench_ab.ko symbol={SYMBOL[handler]}{fault} returns=1 ||"
        yield f'\tsay "FAIL probe {SYMBOL[handler]}"'
    for number, case in cases:
        if not own:
            yield f"echo {int(case.path is Path.RETRY)} > {PROBE_PARAMETERS}/retry"
        for repeat in range(case.repeats):
            counts = "-" if case.timed else DEVICE_PARAMETERS if own else PROBE_PARAMETERS
            yield f"one {number}.{repeat} {counts} {case.arguments()}"
    yield f"echo 0 > {DEVICE_PARAMETERS}/retry" if own else "rmmod faultbench_ab"


def preparation(handlers: Iterable[Handler]) -> str:
    """Return the lines that make what the handlers need: file systems, files, our device."""
    wanted = set(handlers)
    lines = []
    if Handler.EXT4 in wanted:
        lines += [_EXT4, _files("/mnt/ext4")]
    if Handler.XFS in wanted:
        lines += [_XFS, _files("/mnt/xfs")]
    if Handler.DRIVER in wanted:
        lines.append(f"insmod /mods/faultbench_dev.ko pud_phys={PUD_PHYS:#x} ||")
        lines.append('\tsay "FAIL faultbench_dev"')
    return "\n".join(lines)


def script(cases: list[Case], *, modules: bool) -> str:
    """Return the shell script; every case is known by its number in `cases`."""
    handlers = {_probe(case.handler) for case in cases}
    lines = [_FUNCTIONS, preparation(handlers)]
    if modules and Handler.DRIVER in handlers:
        lines.append(_READ_ONLY)
    if not modules:
        runs = ((n, case, repeat) for n, case in enumerate(cases) for repeat in range(case.repeats))
        return "\n".join([*lines, *(f"one {n}.{r} - {c.arguments()}" for n, c, r in runs)])
    numbered = list(enumerate(cases))
    for handler, group in groupby(numbered, key=lambda pair: pair[1].handler):
        lines += _group(handler, list(group))
    return "\n".join(lines) + "\n"
