"""The laboratory's command, as far as it goes without QEMU: what it refuses, and quickly."""

import re
import time

import pytest

from tests.cli.test_sweep import complaint, faultbench

OFFLINE = ("--offline",)


@pytest.mark.parametrize("more", [(), ("--instructions",)])
@pytest.mark.parametrize(
    ("output", "message"),
    [("there", "exists; name another"), ("no/such/folder/x", "no such folder; make it")],
)
def test_a_file_that_cannot_be_written_is_refused_before_a_guest_boots(
    tmp_path, more, output, message
):
    (tmp_path / "there").write_text("mine")
    began = time.monotonic()
    done = faultbench("lab", "run", *more, "-o", output, *OFFLINE, cwd=tmp_path, check=74)
    assert message in complaint(done)
    assert "booting" not in done.stderr
    assert time.monotonic() - began < 60
    assert (tmp_path / "there").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bogus",), "there are fetch, run, check, plot"),
        (("run", "--device", "/dev/x"), "belong to lab run --module"),
        (("run", "--module", "."), "needs --device"),
        (("run", "--module", "/no/such", "--device", "/dev/x", "--offline"), "not a folder|cached"),
        (("check", "/no/such"), "no such file"),
        (("check", "-o", "x"), "lab run -o FILE. writes records"),
        (("check", "--recorded", "--keep"), "nothing to keep"),
        (("check", "x", "--recorded"), "either FILE or --recorded"),
        (("run", "x"), "lab run FILE: it takes -o, --instructions"),
        (("run", "--recorded"), "it takes"),
        (("run", "--module", ".", "--device", "/dev/x", "-o", "y"), "prints its report"),
        (("fetch", "--instructions"), "it takes no options"),
        (("fetch", "--offline"), "to ask the index"),
        (("plot", "--recorded"), "where no FILE is named"),
    ],
)
def test_bad_input_is_told_in_two_lines(tmp_path, arguments, message):
    done = faultbench("lab", *arguments, cwd=tmp_path, check=None)
    assert done.returncode
    assert re.search(message, complaint(done))


def test_no_kernel_and_no_network(tmp_path):
    done = faultbench(
        "lab", "run", *OFFLINE, cwd=tmp_path, check=71, FAULTBENCH_LAB_CACHE=str(tmp_path / "empty")
    )
    assert "faultbench lab fetch" in complaint(done)
