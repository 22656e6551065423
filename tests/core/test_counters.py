"""The exact counters of every kernel, handler, order, access and mapping without writers.

The table is kernel-reference §2, written down again here and not computed from the engine's rules.
"""

from __future__ import annotations

import itertools

import pytest

from faultbench import _checked, _single, _threads
from tests.core.specs import ACCESSES, HANDLERS, MAPS, ORDERS, spec, totals

KERNELS = ["v6.3", "v6.4", "v6.5", "next-202308", "v6.6", "v6.12", "v6.13", "v6.15", "v6.16"]
# M mmap_lock only, A abort, R retry, V under the VMA lock, m: V if vm_ops has map_pages, else R
#                    v6.3 v6.4 v6.5 next v6.6 6.12 6.13 6.15 6.16
TABLE = {
    "huge create":     "M    A    A    R    V    V    V    V    V",
    "huge wp":         "M    A    A    R    V    V    V    V    V",
    "huge wp private": "M    A    A    R    R    m    m    m    m",
    "huge create COW": "M    A    A    R    R    m    m    m    m",
    "driver retries":  "M    A    A    R    R    R    R    R    R",
    "pte read":        "M    A    A    R    R    m    m    m    m",
    "pte write":       "M    A    A    R    R    m    m    m    m",
    "pte wp":          "M    A    A    R    R    m    m    m    m",
    "pte COW":         "M    A    A    R    R    m    m    m    m",
    "pte wp private":  "M    A    A    V    V    V    V    V    V",
    "anon":            "M    V    V    V    V    V    V    V    V",
}  # fmt: skip
MAP_PAGES = {"xfs"}
ENTRIES = 16
RULE_PAT = _checked.CONSTANTS["RULE_PAT"]


def kinds(handler: str, order: str, access: str, mapping: str) -> list[str]:
    """The faults that the accesses to one entry take, first touch, anon_vma there."""
    private = mapping == "private"
    if handler == "anon":
        return ["anon"] * (2 if access == "wp" else 1)
    if order == "pte":
        if handler == "device-dax":  # what a read installs is writable
            return ["pte write" if access == "write" else "pte read"]
        first = "pte COW" if private and access == "write" else f"pte {access}"
        return (
            ["pte read", "pte wp private" if private else "pte wp"] if access == "wp" else [first]
        )
    first = "driver retries" if handler == "driver-retry" else "huge create"
    if private and access == "write":
        return ["huge create COW"]
    if access != "wp" or handler == "device-dax":
        return [first]
    second = "driver retries" if handler == "driver-retry" else "huge wp"
    return [first, "huge wp private" if private else second]


def exists(handler: str, order: str, access: str, mapping: str) -> bool:
    """Whether the combination does (design §4, Handlers)."""
    if handler == "anon":
        return order == "pte" and mapping == "private"
    if mapping == "private" and handler not in ("ext4", "xfs"):
        return False
    if handler in ("ext4", "xfs"):
        return order != "pud"
    if handler == "nop" and access == "wp":
        return False
    return handler == "device-dax" or order != "pte"


COMBINATIONS = list(itertools.product(HANDLERS, ORDERS, ACCESSES, MAPS))
EXISTING = sum(exists(*c) for c in COMBINATIONS)


def expected(kernel: str, combination: tuple[str, str, str, str]) -> dict[str, int]:
    """Outcome counters of one pass over the slice."""
    column = KERNELS.index(kernel)
    count = dict.fromkeys("MARV", 0)
    for kind in kinds(*combination):
        outcome = TABLE[kind].split()[column]
        if outcome == "m":
            outcome = "V" if combination[0] in MAP_PAGES else "R"
        count[outcome] += ENTRIES
    return {
        "faults": sum(count.values()),
        "vma_lock_success": count["V"],
        "vma_lock_abort": count["A"],
        "vma_lock_retry": count["R"],
        "vma_lock_miss": 0,
        "mmap_lock_reads": count["M"] + count["A"] + count["R"],
        "no_vma": 0,
        "lost_races": 0,
        "errors": 0,
    }


def one_pass(kernel: str, combination: tuple[str, str, str, str]) -> dict[str, object]:
    handler, order, access, mapping = combination
    faults = ENTRIES * len(kinds(*combination))
    return spec(
        kernel, handler, order=order, access=access, map=mapping, faults=faults, slice=ENTRIES
    )


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_combination(kernel: str) -> None:
    done = 0
    for combination in COMBINATIONS:
        given = one_pass(kernel, combination)
        if combination[0] == "anon" and combination[3] == "shared":
            continue  # the engine knows only private anonymous memory and does not ask
        if not exists(*combination):
            with pytest.raises(ValueError, match="run_trial: "):
                _single.run_trial(given)
            continue
        out = _single.run_trial(given)
        assert (out["status"], out["invariant"]) == ("ok", ""), combination
        got = totals(out)
        want = expected(kernel, combination)
        assert {name: got[name] for name in want} == want, combination
        done += 1
    assert done == EXISTING


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_checked_build_finds_no_rule_broken(kernel: str) -> None:
    """Same counters, and locking.rst holds on every handler call."""
    for combination in COMBINATIONS:
        if exists(*combination):
            out = _checked.run_trial(one_pass(kernel, combination))
            assert (out["status"], out["invariant"]) == ("ok", ""), combination
            got = totals(out)
            want = expected(kernel, combination)
            assert {name: got[name] for name in want} == want, combination


def test_pat_changes_no_counter() -> None:
    """x86's look-up of the memory type is two locks, and no rule is broken by them."""
    for kernel in ("next-202308", "v6.12"):
        for combination in COMBINATIONS:
            if exists(*combination):
                given = one_pass(kernel, combination)
                out = _checked.run_trial(given | {"rules": given["rules"] | RULE_PAT})
                assert (out["status"], out["invariant"]) == ("ok", ""), combination
                got, want = totals(out), expected(kernel, combination)
                assert {name: got[name] for name in want} == want, combination


TIMES = {"window_ns", "start_ns", "end_ns", "cpu_ns", "refill_ns", "mmap_lock_read_wait_ns"}


def test_the_seam_is_clean() -> None:
    """The same faults where nothing but the seam reaches a shared word: same counters."""
    for kernel in ("v6.5", "next-202308", "v6.12", "v6.16"):
        for combination in COMBINATIONS:
            if not exists(*combination):
                continue
            given = {**one_pass(kernel, combination), "faults": 100, "warmup_faults": 7}
            single, threads = (totals(m.run_trial(given)) for m in (_single, _threads))
            assert {k: v for k, v in single.items() if k not in TIMES} == {
                k: v for k, v in threads.items() if k not in TIMES
            }, combination


def test_the_first_fault_of_a_gib_is_offered_as_a_pud() -> None:
    """§5.2: with no PUD entry ->huge_fault gets order 18 first."""
    for kernel, under in (("v6.6", "calls_under_vma"), ("next-202308", "calls_under_mmap")):
        got = totals(_single.run_trial(spec(kernel, "ext4", faults=16)))
        assert (got["calls_pud"], got["calls_pmd"], got["vma_lock_retry"] in (0, 16)) == (
            1,
            16,
            True,
        )
        assert got[under] == got["huge_fault_calls"] == 17
        assert got["table_allocs"] == 2  # PUD and PMD table


def test_fallback_ranges_become_pte_faults_that_ext4_sends_back() -> None:
    given = spec("v6.6", "ext4", fallback_ppm=1_000_000, faults=16)
    got = totals(_single.run_trial(given))
    # Each is tried as a PMD under the VMA lock, sent back by do_fault, tried again.
    assert (got["fallbacks"], got["calls_pmd"], got["calls_pte"]) == (32, 32, 16)
    assert (got["vma_lock_retry"], got["pte_installs"], got["pmd_installs"]) == (16, 16, 0)
    got = totals(_single.run_trial({**given, "rules": spec("v6.12")["rules"], "handler": 2}))
    assert (got["fallbacks"], got["vma_lock_success"], got["calls_pte"]) == (16, 16, 16)
    half = totals(
        _single.run_trial({**given, "fallback_ppm": 500_000, "faults": 512, "slice": 512})
    )
    assert 180 < half["pte_installs"] < 330
    assert half["pte_installs"] + half["pmd_installs"] == 512


def test_what_a_refill_leaves() -> None:
    """Entries go, tables stay; each entry is installed once a generation."""
    got = totals(_single.run_trial(spec("v6.6", "driver", faults=160, slice=16)))
    assert (got["pmd_installs"], got["cleared"], got["table_allocs"]) == (
        160,
        16 * got["refills"],
        2,
    )


@pytest.mark.parametrize("path", ["direct", "retry"])
@pytest.mark.parametrize("handler", ["ext4", "device-dax"])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_done_when(path: str, handler: str, workers: int) -> None:
    """Issue 2's last line."""
    kernel = {"direct": "v6.6", "retry": "next-202308"}[path]
    for vmas in {1, workers}:
        out = _threads.run_trial(
            spec(kernel, handler, workers=workers, vmas=vmas, duration_ns=20_000_000, slice=512)
        )
        assert out["invariant"] == ""
        got = totals(out)
        assert got["faults"] > 0
        retried = got["faults"] if path == "retry" else 0
        assert got["vma_lock_retry"] == got["mmap_lock_reads"] == retried
        assert got["vma_lock_success"] == got["faults"] - retried
