from dataclasses import replace

import pytest

from faultbench import rules
from faultbench.errors import UsageError
from faultbench.model import (
    Access,
    Handler,
    Map,
    Order,
    Path,
    Rwsem,
    Seq,
    TrialSpec,
    VmaLock,
    WriterOp,
)

# Design §4, "Kernels and paths": path, VMA lock, sequence, prefetchw.
TABLE = {
    "v6.3": ("mmap-lock", "none", "int", True),
    "v6.4": ("abort", "separate", "int", True),
    "v6.5": ("abort", "separate", "int", True),
    "next-202308": ("retry", "separate", "int", True),
    "v6.6": ("direct", "separate", "int", True),
    "v6.12": ("direct", "separate", "int", True),
    "v6.13": ("direct", "separate", "seqcount", True),
    "v6.15": ("direct", "refcount", "seqcount", True),
    "v6.16": ("direct", "refcount", "seqcount", False),
}


def spec(**changes):
    base = TrialSpec(
        "threads",
        "v6.6",
        Path.DIRECT,
        rules.resolve("v6.6", None),
        Handler.EXT4,
        threads=4,
        vmas=4,
    )
    return replace(base, **changes)


@pytest.mark.parametrize("kernel", TABLE)
def test_kernels_are_those_of_the_design(kernel):
    resolved = rules.resolve(kernel, None)
    path, lock, seq, prefetchw = TABLE[kernel]
    assert rules.KERNELS[kernel].path.value == path
    assert (resolved.vma_lock.value, resolved.seq.value) == (lock, seq)
    assert bool(resolved.bits & rules.PREFETCHW) is prefetchw
    assert bool(resolved.bits & rules.TYPESAFE) is (lock == "refcount")
    assert bool(resolved.bits & rules.ABORT_FILE) is (path == "abort")


def test_the_table_is_whole():
    assert set(rules.KERNELS) == set(TABLE)


def test_retry_and_direct_differ_in_the_removed_check_only():
    retry, direct = (rules.resolve(None, p) for p in (Path.RETRY, Path.DIRECT))
    assert retry.bits ^ direct.bits == rules.HUGE_RETRY
    assert replace(retry, bits=direct.bits) == direct


@pytest.mark.parametrize("path", Path)
def test_path_alone_keeps_the_locks_of_v6_6(path):
    kept = rules.resolve("v6.6", None)
    mine = rules.resolve(None, path)
    assert replace(mine, bits=kept.bits) == kept
    assert mine.bits & rules.PREFETCHW


@pytest.mark.parametrize("path", [Path.ABORT, Path.RETRY, Path.DIRECT])
def test_a_kernel_without_vma_locks_has_one_path(path):
    with pytest.raises(UsageError, match="no per-VMA lock"):
        rules.resolve("v6.3", path)


def test_a_path_overrides_only_the_path():
    retry = rules.resolve("v6.16", Path.RETRY)
    own = rules.resolve("v6.16", None)
    assert retry == replace(own, bits=own.bits | rules.HUGE_RETRY)


def test_knobs_turn_one_thing_at_a_time():
    base = rules.resolve("v6.6", None)
    assert rules.resolve("v6.6", None, [("rwsem", "naive")]) == replace(base, rwsem=Rwsem.NAIVE)
    assert rules.resolve("v6.6", None, [("seq", "seqcount")]) == replace(base, seq=Seq.SEQCOUNT)
    off = rules.resolve("v6.6", None, [("prefetchw", "off")])
    assert off.bits == base.bits & ~rules.PREFETCHW
    refcount = rules.resolve("v6.6", None, [("vma_lock", "refcount")])
    assert refcount.vma_lock is VmaLock.REFCOUNT
    assert refcount.bits & rules.TYPESAFE


@pytest.mark.parametrize("kernel", TABLE)
def test_pat_is_off_unless_asked_for(kernel):
    base = rules.resolve(kernel, None)
    assert not base.bits & rules.PAT
    assert rules.resolve(kernel, None, [("pat", "on")]) == replace(base, bits=base.bits | rules.PAT)
    assert rules.knobs_label(kernel, None, [("pat", "on")]) == "pat=on"
    assert rules.knobs_label(kernel, None, [("pat", "off")]) == ""


def test_a_knob_that_changes_nothing_has_no_name():
    assert rules.knobs_label("v6.6", None, [("prefetchw", "on"), ("vma_lock", "separate")]) == ""
    assert rules.knobs_label("v6.16", None, [("prefetchw", "on")]) == "prefetchw=on"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"handler": Handler.DEVICE_DAX, "map": Map.PRIVATE}, "refuses private"),
        ({"handler": Handler.DEVICE_DAX, "fallback_ppm": 1}, "never falls back"),
        ({"handler": Handler.ANON, "order": Order.PTE, "map": Map.PRIVATE}, "no files"),
        ({"handler": Handler.NOP}, "no files"),
        ({"handler": Handler.ANON, "files": 0, "map": Map.PRIVATE}, "order pte"),
        ({"order": Order.PUD}, "FALLBACK"),
        ({"handler": Handler.XFS, "order": Order.PUD}, "FALLBACK"),
        ({"handler": Handler.DRIVER, "order": Order.PTE}, "PMD and PUD"),
        ({"handler": Handler.NOP, "files": 0, "access": Access.WP}, "write-protected"),
        ({"handler": Handler.DEVICE_DAX, "sync": True}, "file system"),
        ({"access": Access.READ, "sync": True}, "write faults"),
        ({"order": Order.PTE, "fallback_ppm": 5}, "2 MiB"),
        ({"vmas": 1, "files": 4}, "one file"),
        ({"vmas": 1, "mms": 4}, "one address space"),
        ({"vmas": 3, "mms": 2}, "one address space"),
        (
            {"handler": Handler.DEVICE_DAX, "writers": 1, "writer_op": WriterOp.FSYNC},
            "only ext4 and xfs",
        ),
    ],
)
def test_what_cannot_exist_is_refused_with_the_reason(changes, reason):
    assert reason in rules.objection(spec(**changes))


def test_pthread_locks_run_on_threads_only():
    rwsem = rules.resolve("v6.6", None, [("rwsem", "pthread")])
    assert not rules.objection(spec(rules=rwsem))
    assert "real threads" in rules.objection(spec(rules=rwsem, machine="virtual:generic"))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"map": Map.PRIVATE},
        {"handler": Handler.DEVICE_DAX, "order": Order.PUD},
        {"handler": Handler.ANON, "files": 0, "order": Order.PTE, "map": Map.PRIVATE},
        {"vmas": 2, "mms": 2, "files": 2},
        {"vmas": 4, "mms": 4, "files": 4},
        {"vmas": 4, "mms": 2, "files": 3},
        {"sync": True},
        {"fallback_ppm": 500_000},
        {"writer_op": WriterOp.FSYNC, "writers": 1},
    ],
)
def test_what_exists_passes(changes):
    assert not rules.objection(spec(**changes))


def test_kernels_that_no_laboratory_judged_are_named_in_their_order():
    assert rules.unconfirmed(["v6.6", "v6.12", "v6.3", "next-202308"]) == ""
    assert rules.unconfirmed(["v6.13", "v6.6", "v6.5"]) == "v6.5, v6.13: not confirmed by a kernel"
