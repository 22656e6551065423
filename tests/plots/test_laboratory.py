from pathlib import Path

from faultbench import costs, records
from faultbench.lab import instructions, picture, run
from faultbench.plots import laboratory


def test_the_picture_is_drawn(tmp_path: Path):
    trials = records.read(run.RECORDED).trials
    written = picture.draw(trials, picture.load_instructions(), tmp_path / "lab")
    assert [p.name for p in written] == ["lab.png", "lab.svg"]
    assert all(p.stat().st_size > 10_000 for p in written)


def test_a_difference_is_said(tmp_path: Path, monkeypatch):
    titles = []
    original = laboratory._reads

    def spy(ax, reads, cases):
        original(ax, reads, cases)
        titles.append(ax.get_title(loc="left"))

    monkeypatch.setattr(laboratory, "_reads", spy)
    for model in (1.0, 0.0):
        reads = [laboratory.Reads("x", "retry", 1.0, model)]
        laboratory.draw(reads, [], [], tmp_path / "x", ["foot"])
    assert titles == ["Counted: equal in every case", "Counted: differs in 1 cases"]


def test_instructions_survive_json():
    found = picture.load_instructions()
    again = instructions.from_json(instructions.to_json(found, "6.12"))
    assert again == found
    assert len(found) == 8


def test_a_retry_costs_instructions_and_the_profile_says_so(tmp_path: Path):
    found = picture.load_instructions()
    for handler in (instructions.Handler.EXT4, instructions.Handler.DRIVER):
        for access in (instructions.Access.READ, instructions.Access.WRITE):
            direct, retry = (
                instructions.value(found, handler, access, path)
                for path in (instructions.FaultPath.DIRECT, instructions.FaultPath.RETRY)
            )
            assert direct < retry < 2 * direct
    profile = tmp_path / "measured.toml"
    instructions.write_profile(profile, found)
    read = costs.load(str(profile))
    assert read.steps == instructions.profile(found)
    device = instructions.value(
        found, instructions.Handler.DRIVER, instructions.Access.WRITE, instructions.FaultPath.DIRECT
    )
    names = "exc_page_fault lock_vma_under_rcu handle_mm_fault create_huge_pmd driver_huge_fault "
    total = sum(read.steps[n] for n in (names + "insert_pfn_pmd").split())
    assert abs(total - device / instructions.PER_NS) <= 3
