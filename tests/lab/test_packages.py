import re
import subprocess

import pytest

from faultbench.errors import ResourceError
from faultbench.lab import packages

DEPENDS = {
    "linux-image-6.12-cloud-amd64": "linux-image-6.12.99+deb12-cloud-amd64",
    "linux-image-cloud-amd64": "linux-image-6.1.0-9-cloud-amd64",
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FAULTBENCH_LAB_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def index(monkeypatch):
    """A package index that has kernels but no network behind it."""

    def apt(*words):
        if words[:2] == ("apt-cache", "depends"):
            return f"x\n  Depends: {DEPENDS[words[2]]}\n" if words[2] in DEPENDS else ""
        return "x:\n  Installed: (none)\n  Candidate: 1-2\n"

    monkeypatch.setattr(packages, "_apt", apt)
    monkeypatch.setattr(packages.shutil, "which", lambda tool, **_: f"/usr/bin/{tool}")


def put(cache, release, version="1-2"):
    root = cache / release
    (root / "boot").mkdir(parents=True)
    (root / "boot" / f"vmlinuz-{release}").touch()
    (root / "version").write_text(version)


def test_the_version_is_looked_up(cache, index):
    put(cache, "6.12.99+deb12-cloud-amd64")
    assert packages.fetch("6.12").release == "6.12.99+deb12-cloud-amd64"
    put(cache, "6.1.0-9-cloud-amd64")
    assert packages.fetch("6.1").release == "6.1.0-9-cloud-amd64"


def test_offline_takes_the_cached_kernel_of_the_series(cache):
    put(cache, "6.12.50+deb12-cloud-amd64")
    put(cache, "6.1.0-9-cloud-amd64")
    assert packages.fetch("6.12", offline=True).release.startswith("6.12.")
    assert packages.fetch("6.1", offline=True).release.startswith("6.1.0")


def test_nothing_cached_and_no_index_says_what_to_do(cache):
    with pytest.raises(ResourceError, match="lab fetch"):
        packages.fetch("6.12", offline=True)


def test_a_failed_download_leaves_nothing(cache, index, monkeypatch):
    def no_network(*words, **_):
        return subprocess.CompletedProcess(words, 100, "", "E: Could not connect\n")

    monkeypatch.setattr(packages.tools, "run", no_network)
    with pytest.raises(ResourceError, match="Could not connect"):
        packages.fetch("6.12")
    assert list(cache.iterdir()) == []


def test_a_download_tells_how_far_it_is(cache, index, monkeypatch):
    def fetched(words, cwd=None, **_):
        if words[1] == "download":
            (cwd / f"{words[-1]}.deb").write_bytes(b"x" * (1 << 20))
        return subprocess.CompletedProcess(words, int(words[0] == "dpkg-deb"), "", "stop here\n")

    monkeypatch.setattr(packages.tools, "run", fetched)
    said = []
    with pytest.raises(ResourceError, match="stop here"):
        packages.fetch("6.12", said.append)
    assert "downloading linux-image-6.12.99+deb12-cloud-amd64 (1 of " in said[0]
    assert re.search(r"unpacking \d+ MB", said[-1])


def test_a_failed_download_falls_back_to_an_older_kernel(cache, index, monkeypatch):
    put(cache, "6.12.50+deb12-cloud-amd64")
    failed = subprocess.CompletedProcess([], 100, "", "E: no\n")
    monkeypatch.setattr(packages.tools, "run", lambda *_, **__: failed)
    assert packages.fetch("6.12").release == "6.12.50+deb12-cloud-amd64"


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FAULTBENCH_LAB_CACHE", str(tmp_path / "file" / "x"))
    with pytest.raises(ResourceError, match="FAULTBENCH_LAB_CACHE"):
        packages.cache_dir()


def test_a_missing_tool_names_its_package():
    with pytest.raises(ResourceError, match="not found"):
        packages.find_tool("no-such-tool-here")
    assert packages.PACKAGE_OF["mkfs.xfs"] == "xfsprogs"
