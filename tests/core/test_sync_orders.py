"""Memory orders: each acquire and each release of ``sync/`` made relaxed, one at a time.

ThreadSanitizer over the torture's plain data, or the schedules over weak memory, must see it; what
both miss is listed with the reason in ``sync_survivors.txt``. An ACQ_REL has two halves, which are
weakened one after the other.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from .sync_build import HEADERS, HELD, SOURCES, TSAN, VIOLATED, build, run

# Which torture goes through a header, and how
TORTURE = {
    "qspinlock.h": ("qspinlock", ("readers=4", "writers=0", "hold=4")),
    "qrwlock.h": ("qrwlock", ("readers=3", "hold=4")),
    "osq.h": ("osq", ("readers=4", "hold=4")),
    "rwsem.h": ("rwsem", ("hold=8",)),
    "rwsem_slow.h": ("rwsem", ("readers=4", "hold=4")),
    "rwsem_spin.h": ("rwsem", ("readers=2", "writers=4", "hold=8")),
    "naive_rwsem.h": ("rwsem", ("gen=1", "hold=8")),
    "refcount.h": ("vma_lock", ("gen=2", "hold=8")),
    "seqcount.h": ("vma_lock", ("gen=1", "hold=8")),
    "rcuwait.h": ("vma_lock", ("gen=2", "hold=4")),
    "rcu.h": ("rcu", ("hold=8",)),
    "srcu.h": ("srcu", ("hold=8",)),
    "percpu_rwsem.h": ("percpu_rwsem", ("hold=8",)),
}
# The first of each are tried in every run; the rest with -m torture.
SAMPLE = ("qspinlock.h", "qrwlock.h", "rwsem.h", "rwsem_slow.h", "rcu.h", "refcount.h")


@dataclass(frozen=True)
class Site:
    """One order in one line, and what is left of it."""

    header: str
    line: int
    code: str
    left: str

    @property
    def id(self) -> str:
        kept = {"RELAXED": "", "ACQUIRE": "-keeps-acquire", "RELEASE": "-keeps-release"}[self.left]
        return f"{self.header}:{self.line}{kept}"


def sites() -> list[Site]:
    found = []
    for header in TORTURE:
        text = (HEADERS / "sync" / header).read_text()
        # comments go, lines stay
        text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), text, flags=re.DOTALL)
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(r"\bFB_(ACQUIRE|RELEASE)\b", line):
                found.append(Site(header, number, line.strip(), "RELAXED"))
            if "FB_ACQ_REL" in line:
                found += [Site(header, number, line.strip(), o) for o in ("ACQUIRE", "RELEASE")]
    return found


def flags(site: Site) -> list[str]:
    path = HEADERS / "sync" / site.header
    return [
        f"-include{SOURCES / 'weaken.h'}",
        f"-DFB_WEAKEN_LINE={site.line}",
        f'-DFB_WEAKEN_FILE="{path}"',
        f"-DFB_WEAKEN_TO=__ATOMIC_{site.left}",
    ]


def by_schedules(site: Site, rounds: int) -> bool:
    """A property falls on the schedule machine, whose memory is as weak as the orders allow."""
    name, args = TORTURE[site.header]
    binary = build(name, "schedules", *flags(site))
    work = ("hold=1", "ops=30", f"rounds={rounds}")
    # some paths need a queue, some that there is hardly anyone
    loads = ((), ("readers=2", "writers=1"))
    return any(run(binary, name, *args, *work, *load).code == VIOLATED for load in loads)


def by_tsan(site: Site, seconds: float) -> bool:
    """ThreadSanitizer sees a race on the plain data."""
    name, args = TORTURE[site.header]
    binary = build(name, "tsan", *flags(site))
    # crowded, where the slow paths are; then with time between two operations, so that a lock is
    # free when another comes and the fast paths are all there is
    for load in (
        (),
        ("readers=1", "writers=1", "think=3000"),
        ("readers=2", "writers=1", "think=300"),
    ):
        outcome = run(binary, name, *args, *load, f"seconds={seconds}", TORTURE_GRACE="5")
        if outcome.code != HELD:
            assert outcome.code == TSAN, outcome
            return True
    return False


def survivors() -> set[tuple[str, str, str]]:
    text = (Path(__file__).parent / "sync_survivors.txt").read_text()
    rows = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {(h, left, code) for h, left, code in (row.split(" | ", 2) for row in rows)}


def needed() -> list[Site]:
    return [s for s in sites() if (s.header, s.left, s.code) not in survivors()]


def sample() -> list[Site]:
    """Return the first order of each header in SAMPLE that must be caught."""
    return [next(s for s in needed() if s.header == header) for header in SAMPLE]


@pytest.mark.parametrize("site", sample(), ids=lambda s: s.id)
def test_a_weakened_order_is_caught(site: Site) -> None:
    assert by_tsan(site, 0.4) or by_schedules(site, 20_000) or by_tsan(site, 2), site.code


@pytest.mark.torture
@pytest.mark.parametrize("site", needed(), ids=lambda s: s.id)
def test_each_weakened_order_is_caught(site: Site, request: pytest.FixtureRequest) -> None:
    if "torture" not in request.config.option.markexpr:
        pytest.skip("long: -m torture")
    assert by_tsan(site, 0.4) or by_schedules(site, 20_000) or by_tsan(site, 3), site.code


def test_no_survivor_is_stale() -> None:
    """A line that is gone or has changed must be tried again."""
    assert survivors() <= {(s.header, s.left, s.code) for s in sites()}
