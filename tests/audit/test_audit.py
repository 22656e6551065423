import json
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from faultbench.audit import extents, kinds, path, process
from faultbench.audit.faulting import Faulted
from faultbench.cli import audit as command
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
    if row["mmap_lock_reads_per_fault"] is not None and not path.on_memory(str(file)):
        assert "while its pages are in the cache" in row["verdict"]


@pytest.mark.parametrize("more", [1, 4095])
def test_a_length_may_be_no_multiple_of_a_page(tmp_path, more):
    """What lies behind the last 2 MiB was rounded down to nothing, and no mapping is empty."""
    file = tmp_path / "file"
    file.write_bytes(b"\0" * (PMD + more))
    row = path.audit(str(file))
    assert row["ranges"] == 2
    assert row["huge_ranges"] <= 1


def test_a_page_from_disk_is_told_from_one_in_the_cache(survey):
    """filemap_fault() lets go of the lock to read, and the fault is done again."""
    rows = {row["mapping"]: row for row in survey}
    if rows["file-cold"]["mmap_lock_reads_per_fault"] is None:
        assert rows["file-cold"]["reason"]
        pytest.skip(rows["file-cold"]["reason"])
    assert rows["file-cold"]["mmap_lock_reads_per_fault"] >= 0.9
    assert "in the cache" in rows["file"]["verdict"]


def test_a_device_is_opened_for_writing_where_we_may(monkeypatch):
    """Else the kernel takes VM_SHARED away, and drivers refuse: ours did."""
    tried = []
    real = os.open

    def opened(name, flags):
        if name != "/dev/null":
            return real(name, flags)
        tried.append(flags & os.O_ACCMODE)
        if flags & os.O_RDWR:
            raise PermissionError
        return real(name, flags)

    monkeypatch.setattr(path.os, "open", opened)
    row = path.audit("/dev/null")
    assert tried == [os.O_RDWR, os.O_RDONLY]
    assert row["why_not"][0]["reason"] == "its driver has no ->mmap"


def test_shared_memory_by_another_name_is_told():
    assert "no ->huge_fault" in path.audit("/dev/zero")["reason"]


def test_a_block_device_can_be_mapped_but_through_the_page_cache():
    disks = [p for p in Path("/dev").iterdir() if p.is_block_device()]
    if not disks:
        pytest.skip("no block device here")
    with pytest.raises(UsageError, match=r"mapped through the page cache .*; name a file on its"):
        path.audit(str(disks[0]))


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
    return extents.Extent(logical, physical, length, flags)


def layout(*found):
    return extents.Layout(found, told=True, whole=True)


@pytest.mark.parametrize(
    ("where", "offset", "reason"),
    [
        (layout(extent(0, PMD, 4 * PMD)), 0, "the device is not"),
        (layout(extent(0, PMD, PMD // 2), extent(PMD // 2, 9 * PMD, PMD)), 0, "too short"),
        (layout(extent(0, 4096, 4 * PMD)), PMD, "not aligned"),
        (layout(extent(0, PMD, PMD)), PMD, "hole"),
        (layout(), 0, "hole"),
        (layout(extent(0, PMD, PMD, 0x800)), 0, "never written"),
        (extents.Layout(), 0, "does not tell"),
    ],
)
def test_extents(where, offset, reason):
    assert reason in extents.reason(where, offset)[0]


def test_what_is_written_is_neither_hole_nor_only_allocated():
    where = layout(extent(0, PMD, PMD), extent(2 * PMD, 4 * PMD, PMD, 0x800))
    assert [where.written(i * PMD, PMD) for i in range(4)] == [PMD, 0, 0, 0]
    assert where.written(PMD // 2, 4 * PMD) == PMD // 2
    assert extents.Layout(where.extents, told=True).written(0, PMD) is None


def test_a_sparse_file_has_holes(tmp_path):
    file = tmp_path / "sparse"
    with file.open("wb") as stream:
        stream.write(b"x" * 65536)
        stream.truncate(4 * PMD)
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
        where = extents.layout(stream.fileno())
    if not where.told:
        pytest.skip("no FIEMAP here")
    assert where.written(PMD, PMD) in (0, None)


def test_extents_that_continue_each_other_are_one():
    whole = extents.joined([extent(0, PMD, 4096), extent(4096, PMD + 4096, PMD - 4096)])
    assert whole == [extent(0, PMD, PMD)]
    assert len(extents.joined([extent(0, PMD, 4096), extent(4096, 8 * PMD, 4096)])) == 2


HUGE, SMALL = Faulted(0, None, 1, PMD, 1), Faulted(64, None, 64, PMD, 512)


@pytest.fixture
def on_dax(monkeypatch, tmp_path):
    """Return a function that audits a file whose ranges fault as told, as if it lay on DAX."""
    monkeypatch.setattr(path.mappings, "on_dax", lambda _: True)
    file = tmp_path / "file"

    def look(*found, where=None, **more):
        file.write_bytes(b"")
        os.truncate(file, len(found) * PMD)
        left, asked = list(found), []

        def fault(**request):
            asked.append(request)
            return left.pop(0)

        monkeypatch.setattr(path, "fault", fault)
        full = layout(extent(0, PMD, len(found) * PMD))
        monkeypatch.setattr(extents, "layout", lambda _: where or full)
        row = path.audit(str(file), **more)
        assert not left
        assert all(request["read_only"] for request in asked)
        look.asked = asked
        return row

    return look


def text(row):
    report = {"kernel": "6", "per_vma_lock": True, "mappings": [row]}
    return command._text(report)


def test_huge_ranges_and_others_are_counted_apart(on_dax):
    """The first range decided for all, of another size: 1.00 and 2 MiB for three huge of four."""
    row = on_dax(SMALL, HUGE, HUGE, HUGE)
    assert row["mmap_lock_reads_per_fault"] == round(64 / 67, 4)
    assert [
        (r["ranges"], r["bytes_per_fault"], r["mmap_lock_reads_per_fault"]) for r in row["by_range"]
    ] == [(3, PMD, 0.0), (1, 4096, 1.0)]
    assert "3 of 4 ranges: served under the VMA lock" in row["verdict"]
    assert "1 of 4 ranges: every fault takes mmap_lock" in row["verdict"]
    shown = text(row).splitlines()
    assert any("0.00  VMA lock       2 M  3 of 4 ranges" in line for line in shown)
    assert any("1.00  mmap_lock      4 K  1 of 4 ranges" in line for line in shown)
    one = on_dax(HUGE, HUGE)
    assert one["huge"]
    assert len(one["by_range"]) == 1
    assert one["verdict"] == "served under the VMA lock"


def test_uncounted_ranges_have_no_figure_and_a_reason(on_dax):
    no = Faulted(None, "no rights", 0, PMD, 1)
    row = on_dax(no, Faulted(None, "no rights", 0, PMD, 512))
    assert row["mmap_lock_reads_per_fault"] is None
    assert row["reason"] == "no rights"
    assert [r["reason"] for r in row["by_range"]] == ["no rights"] * 2
    assert row["huge_ranges"] == 1
    assert "not counted" in text(row)


@pytest.mark.parametrize("where", [layout(), layout(extent(0, PMD, 2 * PMD, 0x800))])
def test_the_huge_zero_page_is_not_the_files_memory(on_dax, where):
    """A sparse file was called good: each range is one fault, of the kernel's zero page."""
    row = on_dax(HUGE, HUGE, where=where)
    assert not row["huge"]
    assert (row["huge_ranges"], row["zero_page_ranges"]) == (2, 2)
    assert row["unwritten_bytes"] == 2 * PMD
    assert "write the file" in row["why_not"][0]["fix"]
    assert "huge zero page" in text(row)
    half = on_dax(HUGE, HUGE, where=layout(extent(0, PMD, PMD)))
    assert (half["zero_page_ranges"], half["unwritten_bytes"]) == (1, PMD)


def test_a_mapping_is_tried_as_it_is_mapped(on_dax):
    row = on_dax(SMALL, private=True, skew=4096)
    assert (on_dax.asked[0]["map_private"], on_dax.asked[0]["skew"]) == (1, 4096)
    assert "differ modulo 2 MiB" in row["why_not"][0]["reason"]


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
    for kind in found["kinds"]:
        assert (kind["mmap_lock_reads_per_fault"] is None) == bool(kind["reason"]), kind
    (special,) = (k for k in found["kinds"] if k["kind"] == "special")
    assert "beside the vdso" in special["reason"]


def test_without_counts_the_reason_is_the_surveys():
    """It blamed the kernel for a user's missing rights."""
    rows = [kinds.absent(kind, "counting needs root") for kind in kinds.KINDS]
    found = process.audit(os.getpid(), rows)
    assert found["bytes_under_mmap_lock"] is None
    assert found["reason"] == "counting needs root"


SMAPS = """\
7f0000000000-7f0000800000 rw-s 00000000 103:00 {inode} {name}
Rss: 4 kB
7f0001000000-7f0001400000 rw-p 00000000 103:00 {inode} {name}
7f0002001000-7f0002201000 rw-s 00000000 103:00 {inode} {name}
7f0003000000-7f0003200000 rw-s 00000000 00:05 7 /dev/nobodys
7f0004000000-7f0004200000 rw-s 00000000 00:0f 8 /anon_hugepage (deleted)/hugepages
"""


def test_a_dax_file_of_a_process_is_looked_at_as_it_is_mapped(monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.touch()
    smaps = SMAPS.format(inode=file.stat().st_ino, name=file)
    monkeypatch.setattr(process, "read", lambda _: list(process.parse(smaps)))
    monkeypatch.setattr(process.mappings, "on_dax", lambda name: "hugepage" not in name)
    tried = []

    def look(name, *, private, skew):
        tried.append((private, skew))
        parts = [(3, 0.0), (1, 1.0)] if not skew else [(1, 1.0)]
        return {
            "mmap_lock_reads_per_fault": 0.2 if not skew else 1.0,
            "by_range": [{"ranges": n, "mmap_lock_reads_per_fault": reads} for n, reads in parts],
            "reason": None,
        }

    monkeypatch.setattr(path, "audit", look)
    found = process.audit(os.getpid(), [])
    assert tried == [(False, 0), (True, 0), (False, 4096)]
    under = [kind["bytes_under_mmap_lock"] for kind in found["kinds"]]
    assert under == [PMD, PMD // 2, PMD, None, None]  # of 8, 4, 2 MiB; a quarter of each falls back
    assert found["bytes_judged"] == 7 * PMD
    reasons = {kind["kind"]: kind["reason"] for kind in found["kinds"]}
    assert "that we do not know" in reasons["device"]
    assert "the pool" in reasons["hugetlb"]


def test_a_file_beyond_the_largest_says_so(monkeypatch):
    smaps = SMAPS.format(inode=1, name="/no/such/file")
    monkeypatch.setattr(process, "read", lambda _: list(process.parse(smaps))[:2])
    monkeypatch.setattr(process.mappings, "on_dax", lambda _: True)
    monkeypatch.setattr(process, "_PROBED", 1)
    reasons = [kind["reason"] for kind in process.audit(os.getpid(), [])["kinds"]]
    assert "cannot be opened" in reasons[0]
    assert "only the 1 largest" in reasons[1]


def test_a_file_that_is_gone_says_so(monkeypatch):
    smaps = SMAPS.format(inode=1, name="/no/such/file")
    monkeypatch.setattr(process, "read", lambda _: list(process.parse(smaps))[:1])
    monkeypatch.setattr(process.mappings, "on_dax", lambda _: True)
    found = process.audit(os.getpid(), [])
    assert "cannot be opened" in found["kinds"][0]["reason"]
    assert found["reason"] == found["kinds"][0]["reason"]


def test_a_thread_of_the_kernel_has_no_mappings():
    if not Path("/proc/2/smaps").exists() or os.geteuid() != 0:
        pytest.skip("no kernel threads are seen here")
    with pytest.raises(UsageError, match="a thread of the kernel"):
        process.read(2)


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
        assert vma.skew


def test_an_smaps_of_nonsense_is_empty():
    assert process.parse("nonsense\n\nRss: 3 kB\n") == []
    assert struct.calcsize("QQIIII") == 32  # fiemap's header
