import pytest

from faultbench.enums import Access, Handler, Order
from faultbench.lab.cases import cases_61, cases_612, timed_cases
from faultbench.lab.script import script
from faultbench.model import TrialSpec
from faultbench.rules import objection


def test_cases_are_distinct_and_their_specs_too():
    cases = [*cases_612(), *timed_cases(), *cases_61()]
    assert len(set(cases)) == len(cases)
    assert len({c.spec().case_id for c in cases}) == len(cases)


def test_every_case_exists_in_the_model():
    for case in (*cases_612(), *cases_61()):
        assert not objection(case.model_spec())


def test_specs_survive_json():
    for case in cases_612():
        assert TrialSpec.from_dict(case.spec(1, "6.12.1").to_dict()) == case.spec(1, "6.12.1")


def test_the_access_is_always_said():
    """The fault loop's default is to write: a read that says nothing would be a write."""
    for case in cases_612():
        assert f"access={case.access.code}" in case.arguments().split()
    assert any(case.access is Access.READ for case in cases_612())


def test_the_script_runs_every_case_and_undoes_its_probes():
    cases = cases_612()
    text = script(cases, modules=True)
    for number, case in enumerate(cases):
        lines = [x for x in text.splitlines() if x.startswith(f"one {number}.")]
        assert len(lines) == case.repeats
        assert all(case.arguments() in line for line in lines)
    assert text.count("insmod /mods/faultbench_ab.ko") == text.count("rmmod faultbench_ab")


def test_61_has_no_modules_and_repeats_what_varies():
    cases = cases_61()
    text = script(cases, modules=False)
    assert "insmod" not in text
    for number, case in enumerate(cases):
        assert text.count(f"\none {number}.") == case.repeats


@pytest.mark.parametrize(
    ("handler", "order", "paths"),
    [
        (Handler.EXT4, Order.PMD, 2),
        (Handler.XFS, Order.PMD, 2),
        (Handler.DRIVER, Order.PMD, 2),
        (Handler.DRIVER, Order.PUD, 2),
        (Handler.EXT4, Order.PMD, 1),
        (Handler.XFS, Order.PMD, 1),
    ],
)
def test_the_cross_product_of_the_requirement(handler, order, paths):
    """Access by threads by VMAs by writers: read and wp had no writers, PUD no VMA each."""
    found = {
        (c.access, c.threads, c.own, c.writers, c.path)
        for c in (cases_612() if paths == 2 else cases_61())
        if (c.handler, c.order) == (handler, order) and not c.first and not c.why
    }
    assert len(found) == 3 * 3 * 2 * paths


def test_what_varies_is_run_more_than_once():
    """A single sample was shown as a distribution."""
    for case in (*cases_612(), *cases_61()):
        assert (case.repeats > 1) == case.varies
