"""Real faults on the kernel that runs the tests. Counts only: no test looks at a time."""

import errno
import os
import platform
import subprocess
import sys
from dataclasses import replace
from importlib import resources

import pytest

from faultbench.enums import Access, Order, Path, WriterOp
from faultbench.errors import FaultbenchError, ResourceError, UsageError
from faultbench.machines import Job, counting, get_machine, kernel, mappings, running, switch
from faultbench.model import TrialSpec

SPEC = TrialSpec(
    machine="kernel",
    kernel=platform.release(),
    path=None,
    rules=None,
    handler=None,
    mapping="anon",
    order=Order.PTE,
    faults=1000,
    warmup_faults=10,
)


def trial(**changes):
    spec = replace(SPEC, **changes)
    machine = get_machine("kernel")
    machine.check(spec)
    return machine.run(Job(spec))


@pytest.mark.parametrize("mapping", ["anon", "memfd"])
@pytest.mark.parametrize("vmas", [1, 2])
@pytest.mark.parametrize("writers", [0, 1])
def test_every_touch_is_a_fault(mapping, vmas, writers):
    raw = trial(mapping=mapping, threads=2, vmas=vmas, writers=writers)
    worker = raw["worker"]
    assert worker["touches"] == [1000, 1000]
    assert worker["faults"] == [1000, 1000]
    assert raw["extra"]["bytes_per_fault"] == 4096
    assert len(raw["writer"].get("ops", [])) == writers


def test_wp_touches_twice():
    raw = trial(mapping="memfd", access=Access.WP)
    assert raw["worker"]["touches"] == [1000]


@pytest.mark.parametrize("op", [WriterOp.TARGET, WriterOp.MPROTECT])
def test_workers_survive_writers_of_their_own_mapping(op):
    raw = trial(mapping="memfd", threads=2, writers=1, writer_op=op, faults=4000)
    assert raw["worker"]["touches"] == [4000, 4000]


def test_address_spaces_are_processes():
    raw = trial(threads=2, vmas=2, mms=2, writers=2)
    assert raw["worker"]["faults"] == [1000, 1000]


def test_by_time():
    raw = trial(faults=0, warmup_faults=0, duration_ns=20_000_000, warmup_ns=1_000_000)
    assert raw["worker"]["faults"][0] > 0
    assert raw["worker"]["window_ns"][0] > 0


def test_a_file_on_disk(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"\0" * (4 << 20))
    raw = trial(mapping=f"file:{file}", access=Access.READ)
    # Fault-around and large folios: fewer faults than touches, and it is said.
    assert sum(raw["worker"]["faults"]) <= 1000
    assert raw["extra"]["bytes_per_fault"] >= 4096


@pytest.mark.parametrize("access", [Access.WRITE, Access.WP])
def test_a_file_keeps_its_bytes(tmp_path, access):
    """Write faults must not overwrite what somebody names as file:PATH."""
    file = tmp_path / "data"
    content = bytes(range(1, 252)) * (4 << 12)
    file.write_bytes(content)
    raw = trial(mapping=f"file:{file}", access=access)
    assert sum(raw["worker"]["faults"]) > 0
    assert file.read_bytes() == content


def test_what_is_not_counted_is_absent_with_its_reason():
    raw = trial()
    uncounted = raw["extra"]["uncounted"]
    for name in ("vma_lock_success", "huge_fault_calls", "fallbacks"):
        assert name not in raw["worker"]
        assert uncounted[name]
    assert ("mmap_lock_reads" in raw["worker"]) != ("mmap_lock_reads" in uncounted)
    assert all(value >= 0 for column in raw["worker"].values() for value in column)


def test_without_rights_every_count_is_absent(monkeypatch):
    monkeypatch.setattr(counting, "tracepoint_ids", lambda events: [-errno.EACCES] * len(events))
    monkeypatch.setattr(counting, "_may_count", lambda: False)
    raw = trial(writers=1)
    assert not {"mmap_lock_reads", "traps", "dax_pmd_faults"} & set(raw["worker"])
    assert "mmap_lock_writes" not in raw["writer"]
    assert "CAP_PERFMON" in raw["extra"]["uncounted"]["mmap_lock_reads"]
    assert raw["worker"]["faults"] == [1000]


def test_a_user_without_rights_gets_null_and_a_reason():
    """The same trial as nobody: no count, a reason, and the rest as ever."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become nobody")
    code = (
        "import os, faultbench._kernel\n"
        "from tests.machines.test_kernel import trial\n"
        "os.setgroups([]); os.setresuid(65534, 65534, 65534)\n"  # who may not read this checkout
        "raw = trial()\n"
        "assert 'mmap_lock_reads' not in raw['worker'], raw\n"
        "assert raw['worker']['faults'] == [1000]\n"
        "print(raw['extra']['uncounted']['mmap_lock_reads'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("counting needs root or CAP_PERFMON")


def test_vmas_are_not_merged():
    """Two mappings of one worker each lie apart: /proc/self/maps shows both."""
    code = (
        "import threading, time, re\n"
        "from tests.machines.test_kernel import trial\n"
        "seen = 0\n"
        "def watch():\n"
        "    global seen\n"
        "    while not done:\n"
        "        text = open('/proc/self/maps').read()\n"
        "        seen = max(seen, len(re.findall('memfd:faultbench', text)))\n"
        "done = False\n"
        "t = threading.Thread(target=watch); t.start()\n"
        "trial(mapping='memfd', threads=2, vmas=2, faults=0, warmup_faults=0,\n"
        "      duration_ns=100_000_000, warmup_ns=1_000_000)\n"
        "done = True; t.join(); assert seen == 2, seen\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mapping": "nonsense"}, "there are anon"),
        ({"mapping": "file:"}, "needs a path"),
        ({"mapping": "anon:/x"}, "takes no path"),
        ({"mapping": "file:/no/such/file"}, "no such file"),
        ({"mapping": "device:/etc/passwd"}, "not a character device"),
        ({"mapping": "dax:/etc/passwd"}, "not on DAX|less than one"),
        ({"mapping": "anon", "order": Order.PMD}, "order pte"),
        ({"mapping": "anon-thp"}, "order pmd"),
        ({"path": Path.RETRY}, "only device: and dax:"),
        ({"kernel": "v6.5"}, "this kernel is"),
        ({"overlap": True}, "disjoint"),
        ({"mapping": "memfd", "writers": 1, "writer_op": WriterOp.FSYNC}, "no file"),
        ({"threads": 2, "vmas": 1, "mms": 2}, "vmas private"),
        ({"mapping": "file:/etc/passwd", "files": 2, "threads": 2, "vmas": 2}, "{}"),
        ({"sync": True}, "MAP_SYNC is for dax:PATH"),
        *(
            ({"mapping": "arena", "writers": 1, "writer_op": op}, "take --writer-op beside")
            for op in (WriterOp.TARGET, WriterOp.MPROTECT)
        ),
    ],
)
def test_bad_input(changes, message):
    with pytest.raises(FaultbenchError, match=message):
        get_machine("kernel").check(replace(SPEC, **changes))


def test_shared_memory_by_another_name_is_refused():
    """/dev/zero has no ->huge_fault: its mapping is shmem, and was once measured as pmd."""
    for order in (Order.PMD, Order.PTE):
        with pytest.raises(UsageError, match=r"no ->huge_fault.*take --mapping memfd"):
            trial(mapping="device:/dev/zero", order=order)


def test_a_device_that_maps_less_than_asked_is_no_measurement(monkeypatch):
    monkeypatch.setattr(mappings, "DEV_ZERO", 0)
    if "[never]" not in mappings.text(
        mappings.FilePath("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
    ):
        pytest.skip("shared memory may have huge folios here")
    said = "one fault maps 4 KiB here.*take --order pte, or see `faultbench audit /dev/zero`"
    with pytest.raises(ResourceError, match=said):
        trial(mapping="device:/dev/zero", order=Order.PMD, faults=20)
    assert trial(mapping="device:/dev/zero")["worker"]["faults"] == [1000]


@pytest.mark.parametrize(
    ("mapping", "hinted"), [("file:/x", True), ("dax:/x", True), ("arena", False), ("anon", False)]
)
def test_noexec_mounts_are_blamed_for_files_only(mapping, hinted):
    spec = replace(SPEC, mapping=mapping, writers=1, writer_op=WriterOp.MPROTECT)
    said = str(kernel._explained(spec, PermissionError(errno.EACCES, "")))
    assert ("noexec" in said) == hinted


def test_a_fault_that_clears_2_mib_is_given_its_time():
    """20 us a fault, as elsewhere, had the watchdog kill such trials on a loaded host."""
    of = get_machine("kernel").expected_s
    small = of(replace(SPEC, faults=1000))
    for mapping in ("anon-thp", "memfd-huge"):
        assert of(replace(SPEC, mapping=mapping, order=Order.PMD, faults=1000)) > small + 2.9


def test_a_device_that_cannot_be_mapped_says_what_to_do():
    with pytest.raises(UsageError, match=r"its driver has no ->mmap; name"):
        get_machine("kernel").check(replace(SPEC, mapping="device:/dev/null"))


def test_a_file_smaller_than_a_huge_page(tmp_path):
    file = tmp_path / "small"
    file.write_bytes(b"\0" * 4096)
    with pytest.raises(UsageError, match="less than one 4 KiB entry for each of 2"):
        get_machine("kernel").check(replace(SPEC, mapping=f"file:{file}", threads=2))


def test_an_empty_pool_and_thp_off_say_what_to_do(monkeypatch):
    monkeypatch.setattr(
        mappings, "text", lambda path: "0" if "hugepages" in str(path) else "[never]"
    )
    huge = "128 huge pages needed for 2 workers, 0 free; .*nr_hugepages .root., or 64 for each"
    for mapping, message in (("memfd-huge", huge), ("anon-thp", "echo madvise")):
        with pytest.raises(ResourceError, match=message):
            mappings.check(
                mappings.parse(mapping), replace(SPEC, mapping=mapping, order=Order.PMD, threads=2)
            )


def test_the_switch(tmp_path, monkeypatch):
    monkeypatch.setattr(switch, "MODULES", tmp_path)
    device = mappings.parse(f"device:{mappings.OUR_DEVICE}")
    with pytest.raises(ResourceError, match="insmod faultbench_dev"):
        switch.check(device, Path.RETRY)
    parameters = tmp_path / "faultbench_dev/parameters"
    parameters.mkdir(parents=True)
    (parameters / "retry").write_text("N\n")
    with pytest.raises(ResourceError, match="of version unknown, this faultbench's is 1"):
        switch.check(device, Path.RETRY)
    (parameters.parent / "version").write_text("0\n")
    with pytest.raises(ResourceError, match=r"of version 0, .* build it again"):
        switch.check(device, Path.RETRY)
    (parameters.parent / "version").write_text(f"{switch.VERSION}\n")
    switch.check(device, Path.RETRY)
    with switch.switched(device, Path.RETRY):
        assert (parameters / "retry").read_text() == "1"
    assert (parameters / "retry").read_text() == "N"
    with pytest.raises(UsageError, match="retry and direct"):
        switch.check(device, Path.ABORT)


def test_the_modules_say_the_version_that_is_asked_for():
    guest = resources.files("faultbench.lab") / "guest"
    for name in ("faultbench_ab.c", "faultbench_dev.c"):
        assert f'MODULE_VERSION("{switch.VERSION}")' in (guest / name).read_text()


def test_a_kernel_without_vma_locks_has_nothing_to_switch(monkeypatch):
    monkeypatch.setattr(running, "per_vma_lock", lambda: False)
    with pytest.raises(ResourceError, match=r"no per-VMA locks .* leave --path out"):
        switch.check(mappings.parse(f"device:{mappings.OUR_DEVICE}"), Path.DIRECT)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("[none] integrity confidentiality", ""), ("none [integrity] confidentiality", "integrity")],
)
def test_lockdown_is_told_from_missing_rights(tmp_path, monkeypatch, text, kind):
    monkeypatch.setattr(running, "LOCKDOWN", tmp_path / "lockdown")
    assert running.lockdown() == ""
    (tmp_path / "lockdown").write_text(text)
    assert running.lockdown() == kind
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(counting, "_may_count", lambda: True)
    reason = counting.reason(errno.EPERM)
    assert ("boot without lockdown=" in reason) == bool(kind)
    monkeypatch.setattr(counting, "_may_count", lambda: False)
    for code in (errno.EPERM, errno.EACCES, errno.ENOENT):  # rights first: tracefs is root's
        assert "CAP_PERFMON" in counting.reason(code)


def test_the_probe_of_another_handler_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(switch, "MODULES", tmp_path)
    monkeypatch.setattr(switch, "handler_symbol", lambda path: "xfs_filemap_huge_fault")
    parameters = tmp_path / "faultbench_ab/parameters"
    parameters.mkdir(parents=True)
    (parameters / "retry").write_text("N")
    (parameters / "symbol").write_text("ext4_dax_huge_fault\n")
    (parameters.parent / "version").write_text(switch.VERSION)
    with pytest.raises(ResourceError, match="rmmod faultbench_ab; insmod"):
        switch.check(mappings.parse("dax:/mnt/file"), Path.RETRY)
