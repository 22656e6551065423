"""The single machine's arena: one at a time, and gone when its trial is, whenever that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from faultbench import _single
from tests.core.specs import spec


def arenas() -> int:
    return Path("/proc/self/maps").read_text().count("faultbench-arena")


def test_an_older_trial_unmaps_its_own_memory():
    """Garbage outlives the next trial: a cached stack of a thread went in place of its memory."""
    before = arenas()
    older = _single.Probe(spec("v6.6", "driver"))
    small = arenas() - before
    newer = _single.Probe(spec("v6.6", "ext4", workers=64, vmas=64))
    assert small == 2
    assert arenas() == before + 4
    with pytest.raises(ValueError, match="one at a time"):
        older.fault(older.slice()[0])
    del older
    assert arenas() == before + 2
    assert newer.fault(newer.slice()[0])["done"]
    del newer
    assert arenas() == before
