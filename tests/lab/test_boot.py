"""What boots the guest, with a shell script in QEMU's place: every way a guest can go wrong."""

import pytest

from faultbench.errors import FaultbenchError, ResourceError
from faultbench.lab import driver, guest, packages

KERNEL = packages.Kernel("6.12", "6.12.0", "1", packages.Path("/nowhere"))


@pytest.fixture
def qemu(tmp_path, monkeypatch):
    """Replace QEMU by a script that knows the file of the second serial port as $DATA."""

    def install(body):
        script = tmp_path / "qemu"
        find = "for word; do case $word in file:*) DATA=${word#file:};; esac; done\n"
        script.write_text(f"#!/bin/sh\n{find}{body}\n")
        script.chmod(0o755)
        monkeypatch.setattr(guest, "find_tool", lambda tool: str(script))

    return install


def lines(**options):
    with guest.Guest(KERNEL, b"", guest.Options(**options)) as vm:
        folder = vm.folder
        try:
            return list(vm.lines())
        finally:
            lines.folder, lines.process = folder, vm._qemu


def gone():
    assert not lines.folder.exists()
    assert lines.process.returncode is not None


def test_lines_come_until_end(qemu):
    qemu("printf 'READY x\\r\\nLOOP 1\\nEND\\nmore\\n' > $DATA; sleep 60")
    assert lines() == ["READY x", "LOOP 1"]
    gone()


def test_a_line_may_come_in_pieces(qemu):
    qemu("printf 'LO' > $DATA; sleep 0.2; printf 'OP\\nEND\\n' >> $DATA")
    assert lines() == ["LOOP"]


def test_a_guest_that_does_not_come_up_shows_its_console(qemu):
    qemu("echo the reason; sleep 60")
    with pytest.raises(ResourceError, match=r"(?s)did not boot within 1 s.*the reason"):
        lines(boot_seconds=1.0)
    gone()


def test_a_guest_that_dies_shows_its_console(qemu):
    qemu("echo the reason; echo one > $DATA; exit 1")
    with pytest.raises(FaultbenchError, match=r"(?s)ended early after 'one'.*the reason"):
        lines()
    gone()


def test_a_guest_that_hangs_is_found(qemu):
    qemu("echo working > $DATA; sleep 60")
    with pytest.raises(FaultbenchError, match="hangs after 'working'"):
        lines(silent_seconds=0.5)
    gone()


def test_keep_leaves_the_files(qemu):
    qemu("echo END > $DATA")
    assert lines(keep=True) == []
    assert (lines.folder / "initrd").exists()
    packages.shutil.rmtree(lines.folder)


def test_no_emulator_names_the_package(monkeypatch):
    monkeypatch.setattr(packages.shutil, "which", lambda *_, **__: None)
    with pytest.raises(ResourceError, match="apt-get install qemu-system-x86"):
        guest.Guest(KERNEL, b"", guest.Options())


def test_kvm_is_used_only_where_a_guest_came_up(qemu, monkeypatch):
    monkeypatch.setattr(guest.os, "access", lambda *_: True)
    monkeypatch.setattr(guest, "TRIAL_SECONDS", 0.5)
    qemu("echo READY > $DATA; sleep 60")
    assert guest.usable_kvm(KERNEL, b"")
    qemu("echo 'failed to set MSR'; exit 1")
    assert not guest.usable_kvm(KERNEL, b"")
    qemu("sleep 60")
    assert not guest.usable_kvm(KERNEL, b"")
    monkeypatch.setattr(guest.os, "access", lambda *_: False)
    assert not guest.usable_kvm(KERNEL, b"")


class Console:
    def console(self, _lines):
        return "    | said"


def report(*said):
    found = driver.Report("x.ko", "6.12")
    for line in said:
        driver._read(found, line, Console())
    return found


COUNTS = "calls_pmd 4 calls_pud 1 calls_pte 0 calls_under_vma {} calls_under_mmap {} "
COUNTS += "bounced 0 fallbacks 0 fallbacks_pud 1 retries {} errors 0 missed 0"


def test_a_driver_that_leaks():
    found = report(
        "SYMBOL x_huge_fault",
        "COUNTS write " + COUNTS.format(4, 5, 4),
        "STACK write vms_gather_munmap_vmas+0x1 do_vmi_munmap+0x2",
        "HANG write",
    )
    assert not found.clean
    assert "LEAK" in found.text
    assert "vms_gather_munmap_vmas" in found.text


def test_a_driver_that_is_never_called():
    found = report("SYMBOL x", "COUNTS write " + COUNTS.format(0, 0, 0))
    assert found.clean
    assert "never called" in found.text


def test_a_driver_whose_mapping_is_refused():
    found = report("SYMBOL x", 'LOOP write {"label": "", "error": "trial: Invalid argument"}')
    assert found.errors == {"write": "trial: Invalid argument"}


def test_a_driver_that_fails_to_load():
    with pytest.raises(FaultbenchError, match=r"insmod x\.ko"):
        report("FAIL insmod x.ko: invalid module format")
