"""Programs that the laboratory runs: nothing of them is left, however we are stopped."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faultbench.errors import FaultbenchError, ResourceError
from faultbench.lab import build, packages, run, tools

TREE = "sleep 1234.5 & sleep 1234.5 & sleep 1234.5"  # a build: what its root started goes on alone
WAITING = (
    "from faultbench.lab import tools, packages\n"
    "from pathlib import Path\n"
    "with packages.scratch('tree-', Path({parent!r})) as folder:\n"
    f"    tools.run(['sh', '-c', 'echo x > $0/made; {TREE}', folder])\n"
)


def asleep():
    found = 0
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += file.read_bytes() == b"sleep\x001234.5\x00"
    return found


def listening():
    """Between fork and exec: no signal is ignored, though the tests may run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def start():
    """Start programs; what a failed test leaves is killed, or later tests would find it."""
    started = []

    def popen(words, **options):
        process = subprocess.Popen(
            words,
            preexec_fn=listening,  # noqa: PLW1509 - no threads of ours are running
            text=True,
            **options,
        )
        started.append(process)
        return started[-1]

    yield popen
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


def test_output_and_code_come_back(tmp_path):
    done = tools.run(
        ["sh", "-c", "pwd; echo $X; echo bad >&2; exit 3"], cwd=tmp_path, env={"X": "7"}
    )
    assert done.returncode == 3
    assert done.stdout.split() == [str(tmp_path), "7"]
    assert done.stderr == "bad\n"
    with pytest.raises(subprocess.CalledProcessError):
        done.check_returncode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_tree_of_processes_and_its_folder_are_gone(tmp_path, start, number):
    before = asleep()
    code = (
        "import signal, faultbench.cli as cli\n"
        "signal.signal(signal.SIGTERM, cli._terminated)\n"
        "signal.signal(signal.SIGHUP, cli._terminated)\n" + WAITING.format(parent=str(tmp_path))
    )
    process = start([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    wait_for(lambda: asleep() == before + 3)
    process.send_signal(number)
    assert process.wait(timeout=30)
    assert asleep() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_command_that_is_stopped_says_so_with_its_own_code(tmp_path, start, number, code):
    """A kernel that never comes: apt-cache hangs."""
    (tmp_path / "apt-cache").write_text("#!/bin/sh\nsleep 1234.5\n")
    (tmp_path / "apt-cache").chmod(0o755)
    before = asleep()
    process = start(
        [sys.executable, "-m", "faultbench", "lab", "fetch"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stderr=subprocess.PIPE,
    )
    wait_for(lambda: asleep() == before + 1)
    process.send_signal(number)
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == code
    assert errors == "faultbench: interrupted\n"
    assert asleep() == before


def test_a_hangup_that_is_ignored_stays_ignored(tmp_path, start):
    """As under nohup."""
    (tmp_path / "apt-cache").write_text("#!/bin/sh\nsleep 1234.5\n")
    (tmp_path / "apt-cache").chmod(0o755)
    before = asleep()
    process = start(
        ["sh", "-c", f"trap '' HUP; exec {sys.executable} -m faultbench lab fetch"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: asleep() == before + 1)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    process.terminate()
    assert process.wait(timeout=30) == 143
    assert asleep() == before


def fake_headers(tmp_path, makefile):
    """A kernel whose headers hold a Makefile of ours."""
    headers = tmp_path / "root/usr/src/linux-headers-6.12.0"
    headers.mkdir(parents=True)
    (headers / "Makefile").write_text(makefile)
    source = tmp_path / "mine"
    source.mkdir()
    (source / "Kbuild").write_text("obj-m := x.o\n")
    return packages.Kernel("6.12", "6.12.0", "1", tmp_path / "root"), source


def test_a_module_that_does_not_build_is_named_by_the_users_folder(tmp_path):
    """It named the copy in /tmp, which was gone."""
    text = "modules:\n\t@echo $(M)/x.c:5: error: unknown type >&2; exit 2\n"
    kernel, source = fake_headers(tmp_path, text)
    with pytest.raises(FaultbenchError) as caught:
        build.module_in(kernel, source, tmp_path / "copy")
    assert f"the module in {source} does not build: {source}/x.c:5: error" in str(caught.value)
    assert "copy" not in str(caught.value)


def test_compilers_leave_their_files_where_they_are_removed(tmp_path):
    """Stopped, gcc leaves cc*.s in TMPDIR."""
    text = "modules:\n\t@echo $$TMPDIR > $(M)/where; touch $(M)/x.ko\n"
    kernel, source = fake_headers(tmp_path, text)
    with packages.scratch("build-", tmp_path) as folder:
        built = build.module_in(kernel, source, folder / "driver")
        assert (built.parent / "where").read_text().strip() == str(folder)


def test_all_that_is_missing_is_named_at_once(monkeypatch):
    monkeypatch.setattr(packages.shutil, "which", lambda *_, **__: None)
    names = "gcc, make, qemu-system-x86_64, busybox, modprobe, mkfs.ext4, mkfs.xfs not found"
    debs = "busybox-static e2fsprogs gcc kmod make qemu-system-x86 xfsprogs"
    with pytest.raises(ResourceError, match=f"{names}; apt-get install {debs}"):
        run.run_all(print)  # before anything is fetched


def test_a_scratch_folder_is_gone_after_an_error(tmp_path):
    with pytest.raises(IsADirectoryError), packages.scratch("x-", tmp_path) as folder:
        folder.write_text("")
    assert list(tmp_path.iterdir()) == []


def test_a_package_that_does_not_unpack_is_told(monkeypatch):
    failed = subprocess.CompletedProcess([], 2, "", "dpkg-deb: error: no space left\n")
    monkeypatch.setattr(packages.tools, "run", lambda *_, **__: failed)
    with pytest.raises(ResourceError, match=r"dpkg-deb: .*no space left; free some space, or set"):
        packages._must("dpkg-deb", "-x", "a", "b")
