from faultbench.enums import Access
from faultbench.lab.cases import cases_61, cases_612, timed_cases
from faultbench.lab.script import script
from faultbench.model import TrialSpec
from faultbench.rules import check_combination


def test_cases_are_distinct_and_their_specs_too():
    cases = [*cases_612(), *timed_cases(), *cases_61()]
    assert len(set(cases)) == len(cases)
    assert len({c.spec().case_id for c in cases}) == len(cases)


def test_every_case_exists_in_the_model():
    for case in (*cases_612(), *cases_61()):
        check_combination(case.model_spec())


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


def test_61_has_no_modules():
    assert "insmod" not in script(cases_61(), modules=False)
