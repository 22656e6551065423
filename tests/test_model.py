import re
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultbench.model import (
    Access,
    Handler,
    Map,
    MmLayout,
    Order,
    Path,
    Rwsem,
    Seq,
    Status,
    Trial,
    TrialSpec,
    VmaLock,
    WriterOp,
    digest,
)
from tests.strategies import specs, trials


@given(specs())
def test_a_spec_survives_json(spec):
    again = TrialSpec.from_dict(spec.to_dict())
    assert again == spec
    assert again.trial_id == spec.trial_id


@given(trials())
def test_a_trial_survives_json(trial):
    assert Trial.from_dict(trial.to_dict()) == trial


@given(specs(), st.data())
def test_the_id_depends_on_every_field_and_nothing_else(spec, data):
    name = data.draw(st.sampled_from(["threads", "vmas", "writers", "repeat", "seed", "faults"]))
    other = replace(spec, **{name: getattr(spec, name) + 1})
    assert other.trial_id != spec.trial_id
    assert (other.case_id == spec.case_id) == (name in {"repeat", "seed"})
    assert replace(other, **{name: getattr(spec, name)}).trial_id == spec.trial_id


@pytest.mark.parametrize("text", ["", ',"repeat":3,', '"x","seed":7,"y', '\\,"repeat":3,\\'])
def test_the_ids_are_those_of_the_whole_text(text):
    """However they are found: files that were written stay readable."""
    spec = TrialSpec(
        "threads", "v6.6", Path.DIRECT, None, Handler.EXT4, repeat=3, seed=7, knobs=text
    )
    assert spec.trial_id == digest(spec.to_dict())
    assert spec.case_id == digest(spec.to_dict() | {"repeat": 0, "seed": 0})


def test_codes_are_those_of_the_contract():
    assert [h.value for h in Handler] == (
        "device-dax ext4 xfs driver driver-retry anon nop".split()
    )
    assert [(o.value, o.code) for o in Order] == [("pmd", 0), ("pud", 1), ("pte", 2)]
    assert [o.value for o in WriterOp] == ["beside", "target", "mprotect", "fsync"]
    assert Map.PRIVATE.code == 1
    assert [s.value for s in Status] == "ok invariant timeout crashed oom killed".split()
    assert Path.names() == ["mmap-lock", "abort", "retry", "direct"]


def test_codes_are_those_of_the_built_engine():
    engine = pytest.importorskip("faultbench._threads", reason="the extension is not built")
    kinds = (Handler, Order, Access, Map, WriterOp, VmaLock, Seq, MmLayout, Rwsem)
    for kind in kinds:
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).upper() + "_"
        for member in kind:
            name = prefix + member.value.replace("-", "_").upper()
            assert engine.CONSTANTS[name] == member.code, name


@pytest.mark.parametrize(
    ("threads", "vmas", "label"),
    [(1, 1, "-"), (4, 4, "private"), (4, 1, "shared"), (4, 2, "2"), (1, 3, "3"), (4, 0, "-")],
)
def test_counts_have_words(threads, vmas, label):
    spec = TrialSpec("threads", "v6.6", Path.DIRECT, None, Handler.EXT4, threads=threads, vmas=vmas)
    assert spec.vmas_label == label


@given(st.sampled_from([f.name for f in fields(TrialSpec)]), st.data())
def test_wrong_types_are_refused(name, data):
    raw = TrialSpec("threads", "v6.6", Path.DIRECT, None, Handler.EXT4).to_dict()
    raw[name] = data.draw(st.sampled_from([1.5, [], {"a": 1}, b"x", 2**70]))
    with pytest.raises((TypeError, ValueError, KeyError)):
        TrialSpec.from_dict(raw)


def test_unknown_fields_are_refused():
    raw = TrialSpec("threads", "v6.6", Path.DIRECT, None, Handler.EXT4).to_dict()
    with pytest.raises(ValueError, match="unknown field 'colour'"):
        TrialSpec.from_dict({**raw, "colour": 1})
