"""The published tables (`field-notes`, each with its origin) and how each is simulated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from faultbench.enums import Handler, Path
from faultbench.validation.simulate import (
    BROADWELL,
    ICE_LAKE,
    MILAN,
    faults,
    four_sockets,
    locks,
    loop_fairness,
    sleeper_fairness,
    writer_fairness,
)

# What nobody knows well enough about any machine; every case runs under each.
VARIANTS: dict[str, dict[str, int]] = {
    "as described": {},
    "prefetchw off": {"prefetchw": 0},
    "prefetchw stalls": {"prefetchw": 1},
    "prefetchw merged": {"prefetchw": 3},
    "nearest first": {"arbitration": 1},
    "dirty lines migrate": {"dirty_load": 1},
    "misses overlap, 50 ns": {"overlap": 50_000},
    "no residency": {"residency": 0},
    "holder hits until arrival": {"in_flight": 0},
}


@dataclass(frozen=True)
class Series:
    """Rates over threads: published ones where there are any, and how to simulate them."""

    name: str
    simulate: Callable[[int, Mapping[str, int]], float]
    published: Mapping[int, float]


@dataclass(frozen=True)
class Case:
    """One claim: series, and the comparison of the second with the first where there are two.

    `moot` are variants that leave nothing to compare.
    """

    title: str
    source: str
    machine: str
    threads: tuple[int, ...]
    series: tuple[Series, ...]
    unit: str
    reading: str  # what the table says, and what to make of an error
    moot: tuple[str, ...] = ()

    @property
    def variants(self) -> list[str]:
        """Return the names of the variants that say something of this case."""
        return [name for name in VARIANTS if name not in self.moot]


def _table(text: str) -> dict[int, float]:
    return {int(n): float(x) for n, x in (pair.split(":") for pair in text.split())}


def _readme(handler: Handler, path: Path) -> Callable[[int, Mapping[str, int]], float]:
    kernel = "next-202308" if path is Path.RETRY else "v6.6"
    return faults("generic", kernel, handler=handler, vmas="private", path=path)


# The benchmark's own time between two turns is not published. It is what makes one thread agree.
LOOP_NS = 18

CASES = (
    Case(
        "Refcount VMA lock (6.15), anonymous faults in one VMA",
        "Suren Baghdasaryan, per-VMA refcount series v9, PFT; machine not named, 56 threads",
        BROADWELL,
        (1, 4, 7, 12, 21, 30, 48, 56),
        (
            Series(
                "rwsem in a separate object (6.13)",
                faults(BROADWELL, "v6.13"),
                _table(
                    "1:507566 4:1880478 7:3106394 12:4061358 21:3988619 30:3909840 48:4761108 "
                    "56:4885561"
                ),
            ),
            Series(
                "refcount in the VMA (6.15)",
                faults(BROADWELL, "v6.15"),
                _table(
                    "1:506139 4:1886796 7:3140551 12:4112477 21:4577747 30:4311052 48:5283791 "
                    "56:5415839"
                ),
            ),
        ),
        "faults/s",
        "Agrees: the shape, linear to about 12 threads, a drop, a plateau, at 0.7 to 0.95 of the "
        "published rate. Does not agree: the gain of 10 to 15 % from 21 threads on; simulated it "
        "is within 3 %. In the model both locks cost three journeys of one line a fault (fetch, "
        "upgrade, release), and the rwsem's owner lies in that line; what else the series "
        "changed, fields moved between the VMA's lines and a pointer less to follow, is free "
        "here. Nor does the model have the rise at 48 threads. Page allocation, memory bandwidth "
        "and memcg, which are in the published plateau too, are not modelled.",
    ),
    Case(
        "rwsem readers, down_read and up_read",
        "Waiman Long, generic against assembly rwsem, 4 sockets, 56 cores; kop/s, after",
        "four-socket Broadwell (intel-xeon-e5-2680v4-2s with two more sockets)",
        (1, 2, 4, 8, 16, 32, 56),
        (
            Series(
                "down_read",
                locks("readers", four_sockets(), LOOP_NS),
                _table("1:30172 2:15025 4:14286 8:13652 16:15938 32:15487 64:15572"),
            ),
        ),
        "operations/ms",
        "Agrees: flat from the second thread to 56, no collapse. The fall at the second thread "
        "is to 0.73 and not to 0.50. Where the old holder hits until the line arrives elsewhere "
        "there is no fall at all: this table is why the machine files give half of a transfer "
        "to the request and half to the line.",
    ),
    Case(
        "rwsem readers, down_read_trylock and up_read",
        "Waiman Long, down_read_trylock on x86; kop/s, after; machine not named",
        "four-socket Broadwell (intel-xeon-e5-2680v4-2s with two more sockets)",
        (1, 2, 4, 8),
        (
            Series(
                "down_read_trylock",
                locks("try_readers", four_sockets(), 3 * LOOP_NS),
                _table("1:14716 2:8453 4:6983 8:7190"),
            ),
        ),
        "operations/ms",
        "A load and a compare-and-swap, as the VMA lock's fast path. Agrees: no collapse, and "
        "below down_read. Does not agree: the published rate halves and stays there; the "
        "simulated one comes back, because a turn is so long here that both operations fit into "
        "one visit of the line. The published benchmark's loop is not known.",
    ),
    Case(
        "mmap_lock against the VMA lock, anonymous faults in one shared VMA",
        "field-notes, fact 3: the VMA lock loses at few threads and wins at many; no table",
        ICE_LAKE,
        (1, 2, 4, 8, 16, 32, 64, 128),
        (
            Series("mmap_lock (6.3)", faults(ICE_LAKE, "v6.3"), {}),
            Series("VMA lock (6.4)", faults(ICE_LAKE, "v6.4"), {}),
        ),
        "faults/s",
        "Both are a rwsem that every fault takes for reading; they differ in who shares the line "
        "and in the sequence check. All differences are below what the model can decide: it "
        "agrees that the VMA lock is no gain as such where all threads are in one VMA, and has "
        "neither the published loss at few threads nor the gain at many.",
    ),
    Case(
        "VMA lock inside vm_area_struct, anonymous faults in one VMA",
        "Suren Baghdasaryan, c7f8f31c00d1 (6.4): inside it faults are slower, on NUMA machines "
        "above all, so 6.4 allocates it apart; no table",
        ICE_LAKE,
        (1, 4, 16, 64, 128),
        (
            Series("apart (6.4)", faults(ICE_LAKE, "v6.4"), {}),
            Series("inside", faults(ICE_LAKE, "v6.4", knobs=(("vma_lock", "inline"),)), {}),
        ),
        "faults/s",
        "Agrees to 16 threads: a fault reads vm_start, vm_end and more on the lock's line, and is "
        "slower for it. At 64 and more the sign is that of the arbitration: whoever waits for "
        "those fields is not in the queue for the lock yet, and that is a gain here where "
        "requests are served as they come, none where the nearest is served first.",
    ),
    Case(
        "prefetchw(mmap_lock) removed (6.16), private VMAs",
        "Mateusz Guzik, 1701771d3069, merged for 6.16: not benchmarked, says its author",
        MILAN,
        (1, 4, 16, 48, 96),
        (
            Series("with (6.15)", faults(MILAN, "v6.15", vmas="private"), {}),
            Series("without (6.16)", faults(MILAN, "v6.16", vmas="private"), {}),
        ),
        "faults/s",
        "Without writers nobody else needs the line: what the prefetch costs is how a CPU treats "
        "it. One that stalls for it pays with every further thread, one that queues it pays "
        "nothing, and which of the two a CPU does is published for none.",
        moot=("prefetchw off",),
    ),
    Case(
        "The README's picture: device-dax, a mapping for each thread",
        "nowhere; what these tables say of our own claim",
        "generic",
        (1, 4, 16, 64, 256),
        (
            Series("retry (never released)", _readme(Handler.DEVICE_DAX, Path.RETRY), {}),
            Series("direct (6.6)", _readme(Handler.DEVICE_DAX, Path.DIRECT), {}),
        ),
        "faults/s",
        "Whatever a CPU does with a line, `retry` ends on mmap_lock's and `direct` has none to end "
        "on (without x86's look-up of the memory type).",
    ),
    Case(
        "The README's picture: ext4, one file, a mapping for each thread",
        "nowhere; what these tables say of our own claim",
        "generic",
        (1, 4, 16, 64),
        (
            Series("retry (never released)", _readme(Handler.EXT4, Path.RETRY), {}),
            Series("direct (6.6)", _readme(Handler.EXT4, Path.DIRECT), {}),
        ),
        "faults/s",
        "The file's and the journal's lines are what limits both. Where `direct` is the slower "
        "one, it gets to those lines sooner and waits there.",
    ),
)

FAIRNESS: dict[str, Callable[[], dict[str, float]]] = {
    "240 writers that sleep": partial(sleeper_fairness, 240),
    "240 writers that map and unmap": partial(writer_fairness, 240),
    "240 that never sleep; a load shares": partial(loop_fairness, 240, dirty_load=0),
    "240 that never sleep; a load migrates": partial(loop_fairness, 240, dirty_load=1),
}
