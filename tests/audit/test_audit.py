import json
import os
import platform
import struct
import subprocess
import sys

import pytest

from faultbench.audit import kinds, path, process
from faultbench.errors import UsageError

PMD = 2 << 20


@pytest.fixture(scope="module")
def survey():
    return kinds.survey()


def test_every_kind_has_a_row(survey):
    assert [row["mapping"] for row in survey] == list(kinds.KINDS)


def test_a_number_or_a_reason(survey):
    for row in survey:
        reads = row["mmap_lock_reads_per_fault"]
        assert (reads is None) == bool(row["reason"])
        assert reads is None or reads >= 0
        assert row["vma_lock"] == (None if reads is None else reads < 0.5)


def test_bytes_need_no_rights(survey):
    rows = {row["mapping"]: row for row in survey}
    assert rows["anon"]["bytes_per_fault"] == 4096
    assert rows["memfd"]["bytes_per_fault"] >= 4096


def test_the_contract_of_json():
    done = subprocess.run(
        [sys.executable, "-m", "faultbench", "audit", "--format", "json", __file__],
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(done.stdout)
    names = [row["mapping"] for row in report["mappings"]]
    assert names == [*kinds.KINDS, __file__]
    assert report["kernel"] == platform.release()


def test_a_file_that_is_not_on_dax_says_so(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"\0" * (PMD + 4096))
    row = path.audit(str(file))
    if path.mappings.on_dax(str(file)):
        pytest.skip("this folder is on DAX")
    reasons = " ".join(why["reason"] for why in row["why_not"])
    assert row["huge"] or "end of file" in reasons


@pytest.mark.parametrize(
    ("bad", "message"),
    [("/no/such/file", "no such file"), ("/", "a folder; name a file in it")],
)
def test_a_bad_path(bad, message):
    with pytest.raises(UsageError, match=message):
        path.audit(bad)


def test_what_can_be_neither_opened_nor_mapped_says_what_to_name(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError, match=r"neither a file nor .*; name a file, or a device"):
        path.audit(str(tmp_path / "fifo"))
    (tmp_path / "small").write_bytes(b"x")
    assert "2 MiB or more" in path.audit(str(tmp_path / "small"))["reason"]


def extent(logical, physical, length, flags=0):
    return path.Extent(logical, physical, length, flags)


@pytest.mark.parametrize(
    ("extents", "offset", "reason"),
    [
        ([extent(0, PMD, 4 * PMD)], 0, "the device is not"),
        ([extent(0, PMD, PMD // 2), extent(PMD // 2, 9 * PMD, PMD)], 0, "too short"),
        ([extent(0, 4096, 4 * PMD)], PMD, "not aligned"),
        ([extent(0, PMD, PMD)], PMD, "hole"),
        ([extent(0, PMD, PMD, 0x800)], 0, "never written"),
        ([], 0, "does not tell"),
    ],
)
def test_extents(extents, offset, reason):
    assert reason in path.extent_reason(extents, offset)[0]


def test_extents_that_continue_each_other_are_one():
    whole = path._joined([extent(0, PMD, 4096), extent(4096, PMD + 4096, PMD - 4096)])
    assert whole == [extent(0, PMD, PMD)]
    assert len(path._joined([extent(0, PMD, 4096), extent(4096, 8 * PMD, 4096)])) == 2


def test_samples_cover_both_ends():
    for size in (1, PMD, PMD + 1, 100 * PMD + 5):
        offsets = path._sampled(size, 32)
        assert offsets[0] == 0
        assert offsets[-1] == (size - 1) // PMD * PMD
        assert len(offsets) == len(set(offsets)) <= 32


def test_our_own_process(survey):
    found = process.audit(os.getpid(), survey)
    by_kind = {kind["kind"]: kind for kind in found["kinds"]}
    assert {"anon", "file", "vdso"} <= set(by_kind)
    assert found["bytes"] == sum(kind["bytes"] for kind in found["kinds"])
    assert (found["bytes_under_mmap_lock"] is None) == bool(found["reason"])


def test_no_such_process(survey):
    with pytest.raises(UsageError, match="no such process"):
        process.audit(2**22 + 1, survey)


def test_kinds_by_name():
    line = "7f0000000000-7f0000400000 {} 00100000 00:01 42 {}\nRss: 4 kB\nTHPeligible: {}\n"
    cases = {
        ("rw-p", "", 1): "anon-thp",
        ("rw-p", "", 0): "anon",
        ("rw-s", "/memfd:x (deleted)", 0): "memfd",
        ("rw-s", "/dev/dax0.0", 0): "device",
        ("r-xp", "[vdso]", 0): "vdso",
        ("rw-s", "/usr/lib/no-such-file", 0): "file",
    }
    for (flags, name, thp), kind in cases.items():
        (vma,) = process.parse(line.format(flags, name, thp))
        assert vma.kind == kind
        assert vma.resident == 4096
        assert not vma.aligned


def test_an_smaps_of_nonsense_is_empty():
    assert process.parse("nonsense\n\nRss: 3 kB\n") == []
    assert struct.calcsize("QQIIII") == 32  # fiemap's header
