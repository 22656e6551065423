from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultbench import config, costs, plan
from faultbench.errors import UsageError
from faultbench.model import Handler, Order, Path
from faultbench.topology import Cpu, Topology
from tests.fake import FakeMachine

TWO = Topology((Cpu(0, 0, 0, 0), Cpu(0, 0, 1, 1)))


def build(topology=TWO, machine=None, **given):
    options = config.parse({name.replace("_", "-"): text for name, text in given.items()})
    return plan.build(options, machine or FakeMachine(), topology, costs.load(options.cost))


def point(spec):
    return replace(spec, path=None, kernel="", rules=None, knobs="", repeat=0, seed=0)


def test_the_default_sweep_is_the_design_s():
    specs = build().specs
    assert {s.handler for s in specs} == {Handler.DEVICE_DAX, Handler.EXT4}
    assert {s.path for s in specs} == {Path.RETRY, Path.DIRECT}
    assert {s.order for s in specs} == {Order.PMD}
    assert {(s.threads, s.vmas_label) for s in specs} == {(1, "-"), (2, "private"), (2, "shared")}
    assert {s.writers for s in specs} == {0, 1}
    assert {s.repeat for s in specs} == set(range(6))
    assert len(specs) == 2 * 2 * 3 * 2 * 6
    seconds = sum(s.warmup_ns + s.duration_ns for s in specs) / 1e9
    assert seconds < 55


def test_one_worker_means_the_same_in_private_and_shared_mappings():
    made = build(threads="1", vmas="private,shared,1", writers="0", handler="ext4")
    assert len(made.specs) == 2 * 6
    assert any("mean the same" in note for note in made.notes)


OPTIONS = st.fixed_dictionaries(
    {
        "path": st.lists(
            st.sampled_from(["mmap-lock", "abort", "retry", "direct"]), min_size=1, unique=True
        ).map(",".join),
        "handler": st.lists(
            st.sampled_from(["device-dax", "ext4", "xfs", "driver"]), min_size=1, unique=True
        ).map(",".join),
        "threads": st.lists(
            st.sampled_from(["1", "2", "max", "2x", "3-5"]), min_size=1, unique=True
        ).map(",".join),
        "vmas": st.lists(
            st.sampled_from(["private", "shared", "2", "7"]), min_size=1, unique=True
        ).map(",".join),
        "writers": st.sampled_from(["0", "1", "0,2"]),
        "writer-op": st.sampled_from(["beside", "beside,target"]),
        "repeats": st.integers(1, 5).map(str),
        "seed": st.integers(0, 9).map(str),
    }
)


@settings(max_examples=60, deadline=None)
@given(OPTIONS)
def test_every_plan(given):
    options = config.parse(given)
    made = plan.build(options, FakeMachine(), TWO, costs.load("none")).specs
    ids = [spec.trial_id for spec in made]
    assert len(set(ids)) == len(ids)
    again = plan.build(options, FakeMachine(), TWO, costs.load("none")).specs
    assert [spec.trial_id for spec in again] == ids
    # Each point has every variant the same number of times, with the same seeds.
    by_point = defaultdict(lambda: defaultdict(list))
    for spec in made:
        by_point[point(spec)][spec.path].append((spec.repeat, spec.seed))
    for variants in by_point.values():
        assert {path.value for path in variants} == set(given["path"].split(","))
        assert len({tuple(sorted(v)) for v in variants.values()}) == 1
        assert sorted(r for r, _ in next(iter(variants.values()))) == list(range(options.repeats))
    # Repeats 2k and 2k + 1 of a point stand together, in one order and then reversed.
    n = len(given["path"].split(","))
    at = 0
    while at < len(made):
        block = made[at].repeat // 2
        length = n * (2 if 2 * block + 1 < options.repeats else 1)
        here = made[at : at + length]
        assert {point(s) for s in here} == {point(made[at])}
        paths = [s.path for s in here]
        if length == 2 * n:
            assert paths[n:] == paths[:n][::-1]
        at += length


def test_the_seed_changes_the_order_but_not_the_points():
    one, two = build(seed="1").specs, build(seed="2").specs
    assert {point(s) for s in one} == {point(s) for s in two}
    assert [point(s) for s in one] != [point(s) for s in two]
    assert not {s.trial_id for s in one} & {s.trial_id for s in two}


def test_ids_do_not_depend_on_what_else_is_swept():
    narrow = {s.trial_id for s in build(handler="ext4", writers="0").specs}
    wide = {s.trial_id for s in build(handler="xfs,ext4", writers="0,1").specs}
    assert narrow < wide


def test_paths_without_kernel_keep_the_locks_of_v6_6_and_say_so():
    made = build(path="mmap-lock,abort,retry,direct")
    assert {s.kernel for s in made.specs} == {"v6.6"}
    assert any("v6.6's locks" in note for note in made.notes)


def test_kernels_have_their_own_paths():
    made = build(kernel="v6.5,v6.6", handler="ext4")
    assert {(s.kernel, s.path.value) for s in made.specs} == {("v6.5", "abort"), ("v6.6", "direct")}


def test_a_counterfactual_is_labelled():
    made = build(kernel="v6.16", path="retry,direct")
    assert any("counterfactual" in note for note in made.notes)
    assert {s.kernel for s in made.specs} == {"v6.16"}


def test_knobs_are_variants_of_one_point():
    made = build(path="direct", set="vma_lock=separate|inline|aligned", writers="0", handler="ext4")
    assert {s.knobs for s in made.specs} == {"", "vma_lock=inline", "vma_lock=aligned"}
    assert len({point(s) for s in made.specs}) == 3


def test_axes_without_meaning_collapse():
    made = build(
        writers="0", writer_op="beside,target,mprotect", writer_rate="0,10", vmas="private"
    )
    assert len(made.specs) == len(build(writers="0", vmas="private").specs)
    assert not any(s.overlap for s in build(overlap="true", vmas="private").specs)
    assert any(s.overlap for s in build(overlap="true", vmas="shared").specs)


def test_files_of_handlers_that_have_none():
    made = build(handler="anon,ext4", files="private,shared")
    assert {s.files for s in made.specs if s.handler is Handler.ANON} == {0}
    with pytest.raises(UsageError, match="anon has no files"):
        build(handler="anon", files="private")


def test_products_that_cannot_exist_are_left_out_and_said():
    made = build(files="private", threads="2", writers="0")
    assert {(s.vmas_label, s.files_label) for s in made.specs} == {("private", "private")}
    assert (
        "4 of 8 combinations left out: --vmas shared --files private: a mapping has one file"
        in str(made.notes)
    )
    made = build(mms="private", threads="2", writers="0")
    assert any("--vmas shared --mms private" in note for note in made.notes)
    # The list has a product that exists; what does not is named as it was typed.
    made = build(vmas="private,2,shared", files="1,2", threads="4", writers="0", handler="ext4")
    found = {(s.vmas_label, s.files_label) for s in made.specs}
    assert found == {
        ("private", "shared"), ("private", "2"), ("2", "shared"), ("2", "2"), ("shared", "shared"),
    }  # fmt: skip
    assert any("--vmas shared --files 2: a mapping has one file" in note for note in made.notes)
    made = build(handler="device-dax,ext4", fallback="0.5")
    assert {s.handler for s in made.specs} == {Handler.EXT4}
    assert any("device-dax never falls back" in note for note in made.notes)


def test_products_of_which_none_exists_are_refused():
    with pytest.raises(UsageError, match="--vmas shared --files 2: a mapping has one file"):
        build(files="2", threads="2", vmas="shared")
    with pytest.raises(UsageError, match="never falls back"):
        build(handler="device-dax", fallback="0.5")


@pytest.mark.parametrize("name", ["vmas", "files", "mms"])
def test_more_than_the_workers_are_as_many_as_the_workers(name):
    """Worker i uses i mod K; the engine refuses what it would never use."""
    both = {"vmas": "private", "threads": "1,2,4", "writers": "0", "handler": "ext4"}
    made = build(**{**both, name: "2,3,9"})
    for spec in made.specs:
        assert 1 <= getattr(spec, name) <= spec.threads
    assert {getattr(s, name) for s in made.specs if s.threads == 4} == {2, 3, 4}
    assert len({point(s) for s in made.specs}) == 1 + 1 + 3
    assert any(f"--{name} 9: never more than" in note for note in made.notes)
    private = build(**{**both, name: "private"})
    wide = build(**{**both, name: "100"})
    assert [s.trial_id for s in wide.specs] == [s.trial_id for s in private.specs]


def test_options_that_change_nothing_are_said():
    made = build(writers="0", writer_op="target", writer_rate="5", vmas="private", overlap="true")
    assert any(note.startswith("--overlap changes nothing") for note in made.notes)
    assert "--writer-op, --writer-rate: no effect without writers" in made.notes
    made = build(writers="0,1", writer_op="target", overlap="true", threads="2")
    assert not any("changes nothing" in n or "no effect" in n for n in made.notes)


def test_over_sixteen_times_the_cpus_needs_a_word():
    assert build(threads="32", writers="0").specs
    with pytest.raises(UsageError, match="--oversubscribe"):
        build(threads="33", writers="0")
    assert build(threads="33", writers="0", oversubscribe="true").specs


def test_a_plan_has_an_end():
    with pytest.raises(UsageError, match="more than 1000000 trials"):
        build(threads="1-32", repeats="10000")


def test_work_by_count_has_a_warm_up_by_count():
    (spec, *_) = build(faults="1000").specs
    assert (spec.faults, spec.warmup_faults) == (1000, 100)
    assert spec.duration_ns == spec.warmup_ns == 0


@pytest.mark.parametrize(
    ("given", "warmup"),
    [
        ({"duration": "250ms"}, 50_000_000),
        ({"duration": "2s"}, 200_000_000),
        ({"duration": "2s", "warmup": "5%"}, 100_000_000),
        ({"duration": "2s", "warmup": "7ms"}, 7_000_000),
        ({"duration": "2s", "warmup": "0"}, 0),
    ],
)
def test_warm_up(given, warmup):
    assert build(**given).specs[0].warmup_ns == warmup


def test_an_edited_cost_profile_is_another_trial(tmp_path):
    file = tmp_path / "mine.toml"
    ids = []
    for ns in (5, 6):
        file.write_text(f"[steps]\nexc_page_fault = {ns}\n")
        ids.append({s.trial_id for s in build(cost=str(file)).specs})
    assert not ids[0] & ids[1]


def test_a_load_has_the_same_seeds_on_every_machine():
    """Which ranges fall back is drawn from the seed: counters must agree between machines."""

    class Other(FakeMachine):
        name = "virtual:other"
        digest = "d"

    def seeds(machine, **given):
        made = build(machine=machine, handler="xfs", threads="1", writers="0", **given)
        return {(s.repeat, s.seed) for s in made.specs}

    assert seeds(FakeMachine(), fallback="0.2") == seeds(Other(), fallback="0.2", duration="9ms")
    assert seeds(FakeMachine(), fallback="0.2") != seeds(FakeMachine(), fallback="0.3")


def test_real_anonymous_memory_has_no_files():
    """`--files private,shared` measured it twice, as two cases that meant the same."""
    given = {"machine": "kernel", "files": "private,shared", "vmas": "private", "writers": "0",
             "threads": "2", "repeats": "1"}  # fmt: skip
    made = plan.build(config.parse(given), FakeMachine(), TWO, costs.load("default"))
    files = [(spec.mapping, spec.files_label) for spec in made.specs]
    assert sorted(files) == [("anon", "-"), ("memfd", "private"), ("memfd", "shared")]
    assert {(str(s.mapping), str(s.map)) for s in made.specs} == {
        ("anon", "private"), ("memfd", "shared"),
    }  # fmt: skip
