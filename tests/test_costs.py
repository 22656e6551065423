import re
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultbench import costs
from faultbench.errors import UsageError

STEPS = Path(__file__).parent.parent / "src/_core/mm/steps.h"


def test_the_default_profile_has_every_step_of_the_core_in_the_order_of_its_codes():
    codes = re.findall(r"\bX\((\w+),\s+\"", STEPS.read_text())
    assert list(costs.load("default").steps) == [code.lower() for code in codes]


def test_every_figure_has_a_source_or_is_an_estimate():
    profile = costs.load("default")
    assert all(profile.sources[step] for step in profile.steps)
    assert 0 < profile.estimated < len(profile.steps)
    for step, ns in profile.steps.items():
        source = profile.sources[step]
        assert re.match(r"estimate:|kernel-lab|field-notes|a lock:|not the kernel", source), step
        assert ns == 0 or not source.startswith("a lock") or ns == 1


def whole_fault(steps, *names):
    return sum(steps[name] for name in names)


def test_the_default_profile_adds_up_to_the_measured_instructions():
    """kernel-lab notes §4d: instructions per fault at the profile's 4 per ns, locks on top."""
    ns = costs.load("default").steps
    common = whole_fault(
        ns, "exc_page_fault", "lock_vma_under_rcu", "handle_mm_fault", "create_huge_pmd",
        "insert_pfn_pmd",
    )  # fmt: skip
    device = common + ns["driver_huge_fault"]
    assert device == pytest.approx(1734 / 4, rel=0.1)
    detour = whole_fault(ns, "lock_mm_and_find_vma", "find_vma", "handle_mm_fault")
    assert 0.5 * 649 / 4 < detour < 833 / 4
    dax = whole_fault(
        ns, "grab_mapping_entry", "iomap_begin", "dax_insert_entry", "dax_unlock_entry"
    )
    assert dax == pytest.approx((3626 - 1734) / 4, rel=0.1)
    write = whole_fault(
        ns, "sb_start_pagefault", "file_update_time", "journal_start", "journal_stop"
    )
    assert write == pytest.approx((4641 - 3626) / 4, rel=0.1)
    anon = whole_fault(
        ns, "exc_page_fault", "lock_vma_under_rcu", "handle_mm_fault", "handle_pte_fault",
        "do_anonymous_page",
    )  # fmt: skip
    assert anon == pytest.approx(1330, rel=0.1)


def test_none_is_nothing():
    profile = costs.load("none")
    assert set(profile.steps.values()) == {0}
    assert "no busy time" in profile.describe()


def test_an_own_profile(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "mine"\nabout = "a laptop"\n[steps]\nexc_page_fault = 100\n'
        'do_fault = { ns = 7, source = "perf" }\n'
    )
    profile = costs.load(str(file))
    assert (profile.name, profile.steps["exc_page_fault"], profile.steps["do_fault"]) == (
        "mine", 100, 7,
    )  # fmt: skip
    assert profile.steps["find_vma"] == 0
    assert profile.digest != costs.load("none").digest


def test_a_changed_copy_needs_a_name_of_its_own(tmp_path):
    """Tables said `cost profile default` and its sources of a teacher's own figures."""
    file = tmp_path / "mine.toml"
    text = files("faultbench.costs").joinpath("default.toml").read_text("utf-8")
    file.write_text(text)
    assert costs.load(str(file)) == costs.load("default")
    changed = text.replace("ns = 280", "ns = 1280")
    file.write_text(changed)
    with pytest.raises(UsageError, match="name of its own"):
        costs.load(str(file))
    file.write_text(changed.replace('name = "default"', 'name = "mine"'))
    assert costs.load(str(file)).name == "mine"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "steps"),
        ("steps = 1", "steps"),
        ("[steps]\nnope = 1", "unknown step"),
        ("[steps]\ndo_fault = -1", "whole ns"),
        ("[steps]\ndo_fault = 1.5", "whole ns"),
        ("[steps]\ndo_fault = nan", "whole ns"),
        ("[steps]\ndo_fault = true", "whole ns"),
        ("[steps]\ndo_fault = 10000000000", "whole ns"),
        ("[steps]\ndo_fault = {}", "whole ns"),
        ("[steps]\ndo_fault = {ns = 1, source = 2}", "source"),
        ("colour = 1\n[steps]", "unknown key"),
        ("[steps", "TOML"),
    ],
)
def test_odd_profiles(tmp_path, text, what):
    file = tmp_path / "odd.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=what):
        costs.load(str(file))


@given(st.binary(max_size=60))
def test_bytes_are_no_profile(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("cost") / "x.toml"
    file.write_bytes(data)
    with pytest.raises(UsageError, match="--cost"):
        costs.load(str(file))


@pytest.mark.parametrize("name", ["nope", "missing.toml", "/", "\0"])
def test_names_that_are_none(name):
    with pytest.raises(UsageError, match="--cost"):
        costs.load(name)
