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


def booted_again(qemu, tmp_path, first, times, **options):
    """What `session` says and returns where the first boots go wrong."""
    boots = tmp_path / "boots"
    qemu(
        f"echo >> {boots}; if [ $(wc -l < {boots}) -le {times} ]; then {first}; exit; fi\n"
        "printf 'READY\\nLOOP 1\\nEND\\n' > $DATA; sleep 60"
    )
    said = []
    found = guest.session(
        KERNEL, b"", guest.Options(**options), said.append, lambda vm: list(vm.lines())
    )
    assert found == ["READY", "LOOP 1"]
    assert len(boots.read_text()) == times + 1
    return said


def test_a_guest_that_hangs_is_booted_once_more(qemu, tmp_path):
    first = "echo working > $DATA; sleep 60"
    (said,) = booted_again(qemu, tmp_path, first, 1, silent_seconds=0.5)
    assert said == "lab: the guest hangs after 'working'; booting once more"
    (tmp_path / "boots").unlink()
    with pytest.raises(guest.HungError):
        booted_again(qemu, tmp_path, first, 2, silent_seconds=0.5)


# It dies of the breakpoint; or goes on after it, and what it says is not to be believed.
STALE = "echo '[    2.4] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI'"
DEATHS = ["echo LOOP 9 > $DATA", "printf 'LOOP 9\\nEND\\n' > $DATA; sleep 60"]


@pytest.mark.parametrize("death", DEATHS)
def test_a_guest_that_dies_of_the_emulator_is_booted_again(qemu, tmp_path, death):
    first = f"{STALE}; {death}"
    assert len(booted_again(qemu, tmp_path, first, 1)) == 1
    (tmp_path / "boots").unlink()
    said = booted_again(qemu, tmp_path, first, 2)
    assert len(said) == 2
    assert all("breakpoint" in line and line.endswith("; booting once more") for line in said)
    (tmp_path / "boots").unlink()
    with pytest.raises(guest.EmulatorError, match=r"QEMU.*run it again"):
        booted_again(qemu, tmp_path, first, 3)


def test_another_death_is_the_kernels(qemu, tmp_path):
    first = "echo '[    2.4] Oops: general protection fault'; echo LOOP 9 > $DATA"
    with pytest.raises(FaultbenchError, match="ended early after 'LOOP 9'"):
        booted_again(qemu, tmp_path, first, 1)
    (tmp_path / "boots").unlink()
    for alone in ({"accel": "kvm"}, {"cpus": 1}):  # no two emulated CPUs, no such excuse
        with pytest.raises(FaultbenchError, match="ended early"):
            booted_again(qemu, tmp_path, f"{STALE}; exit", 1, **alone)
        (tmp_path / "boots").unlink()


def test_an_interrupt_boots_nothing_again(qemu):
    qemu(f"{STALE}; echo LOOP 9 > $DATA; sleep 60")

    def interrupted(vm):
        assert next(iter(vm.lines())) == "LOOP 9"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guest.session(KERNEL, b"", guest.Options(), pytest.fail, interrupted)


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
