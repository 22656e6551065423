import shutil
import subprocess

import pytest

from faultbench.lab.initramfs import Archive


def archive() -> bytes:
    a = Archive()
    a.file("bin/tool", b"x" * 5)
    a.file("/bin/other", b"")
    a.folder("mnt/ext4")
    a.link("bin/sh", "tool")
    return a.bytes()


def test_entries_are_aligned_and_end_with_the_trailer():
    data = archive()
    at, names = 0, []
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        size, length = fields[6], fields[11]
        names.append(data[at + 110 : at + 110 + length - 1].decode())
        at += (110 + length + 3) // 4 * 4 + (size + 3) // 4 * 4
        if names[-1] == "TRAILER!!!":
            break
    assert names == ["bin", "bin/tool", "bin/other", "mnt", "mnt/ext4", "bin/sh", "TRAILER!!!"]
    assert at == len(data)


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is not installed")
def test_cpio_reads_it():
    done = subprocess.run(["cpio", "-t"], input=archive(), capture_output=True, check=True)
    assert done.stdout.decode().split() == [
        "bin",
        "bin/tool",
        "bin/other",
        "mnt",
        "mnt/ext4",
        "bin/sh",
    ]
