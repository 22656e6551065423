"""Every command in the documentation is run: a page that lies is a failing test.

All ``sh`` blocks of a page run in order, in one empty folder, by ``sh -e``. A block that cannot
run everywhere is preceded by a line ``<!-- not run: reason -->``.
"""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import faultbench

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(
    r"(?P<skip><!-- not run: [^\n]+ -->\n\s*)?^```(?:sh|shell|bash|console)\n(?P<code>.*?)^```",
    re.MULTILINE | re.DOTALL,
)


def blocks(page):
    return [m["code"] for m in BLOCK.finditer(page.read_text()) if not m["skip"]]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A PATH on which ``faultbench`` is the one under test."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "faultbench"
    package = Path(faultbench.__file__).parents[1]
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH="{package}" exec "{sys.executable}" -m faultbench "$@"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.stem)
def test_commands_of_a_page_run(page, path, tmp_path):
    for number, code in enumerate(blocks(page), 1):
        done = subprocess.run(
            ["sh", "-e", "-c", code], cwd=tmp_path, env=os.environ | {"PATH": path},
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{page.name}, block {number}:\n{code}\n{done.stderr}"
        assert "Traceback" not in done.stderr, f"{page.name}, block {number}"


@pytest.fixture
def readme(tmp_path):
    """The README's three examples, their sweeps shortened, their database a file that is here."""
    text = (ROOT / "README.md").read_text()
    (code,) = (b for b in blocks(ROOT / "README.md") if b.startswith("faultbench sweep --kernel"))
    assert code.count("faultbench ") == 3
    assert f"Three examples (with `.venv/bin` on the PATH):\n\n```sh\n{code}```" in text
    (tmp_path / "db").write_bytes(bytes(4 << 20))
    short = "--repeats 1 --no-plot "
    return (
        code.replace("sweep --kernel", f"sweep {short}--duration 5ms --warmup 1ms --kernel")
        .replace("sweep --machine virtual", f"sweep {short}--faults 8 --machine virtual")
        .replace("/mnt/pmem/db", "db")
    )


def test_the_examples_of_the_readme_run(readme, path, tmp_path):
    done = subprocess.run(
        ["sh", "-e", "-c", readme], cwd=tmp_path, env=os.environ | {"PATH": path},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for said in ("v6.6/v6.5", "hottest cache lines", "2 ranges looked at"):
        assert said in done.stdout, said
    assert (tmp_path / "up.jsonl").exists()


def test_there_are_commands_to_run():
    assert sum(len(blocks(p)) for p in PAGES) >= 12


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
