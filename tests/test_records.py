"""Results files: nothing whole is lost, nothing torn or flipped is believed."""

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faultbench import records
from faultbench.errors import DataError, OutputError
from faultbench.model import Handler, Status, Trial, TrialSpec
from faultbench.model import Path as FaultPath
from faultbench.recordline import decode, encode
from faultbench.rules import resolve
from tests.strategies import trials

HEADER = records.Header("0.1.0", plan={"options": {}}, host={"cpu_model": "none"})


def small(repeat: int = 0, status: Status = Status.OK) -> Trial:
    spec = TrialSpec(
        "threads", "v6.6", FaultPath.RETRY, resolve(None, FaultPath.RETRY), Handler.EXT4,
        repeat=repeat,
    )  # fmt: skip
    return Trial(spec, status, worker={"faults": [3]})


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "r.jsonl"
    with records.Writer.create(path, HEADER) as writer:
        for repeat in range(3):
            writer.append(small(repeat))
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(trials(), max_size=5, unique_by=lambda t: t.trial_id))
def test_what_is_written_is_read(tmp_path, some):
    path = tmp_path / "r.jsonl"
    path.unlink(missing_ok=True)
    with records.Writer.create(path, HEADER) as writer:
        for trial in some:
            writer.append(trial)
    results = records.read(path)
    assert results.trials == some
    assert results.header == HEADER
    assert results.notes == []


def test_lines_begin_and_end_as_the_contract_says(written):
    header, *lines = written.read_bytes().splitlines()
    assert header.startswith(b'{"kind":"header","schema":1,')
    for line in lines:
        raw = json.loads(line)
        assert list(raw)[:2] == ["kind", "trial_id"]
        assert list(raw)[-1] == "crc32"
        body = line[: line.rindex(b',"crc32"')]
        assert int(raw["crc32"], 16) == zlib.crc32(body)
        assert not any(isinstance(v, float) for v in raw["worker"].values())


def test_truncated_at_every_byte(written):
    whole = written.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole)):
        written.write_bytes(whole[:length])
        complete = sum(end <= length for end in ends)
        if complete == 0:
            with pytest.raises(DataError, match="not a faultbench results file"):
                records.read(written)
            continue
        results = records.read(written)
        assert len(results.trials) == complete - 1
        assert bool(results.notes) == (length not in ends)
        assert results.end == ends[complete - 1]


def test_a_bit_flip_at_every_byte_is_found(written):
    whole = written.read_bytes()
    good = records.read(written)
    for at in range(len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        written.write_bytes(flipped)
        try:
            results = records.read(written)
        except DataError:
            continue
        # Only the newline at the end may go unnoticed as an error: the line is then torn.
        assert at == len(whole) - 1
        assert results.notes
        assert results.trials == good.trials[:-1]


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_bytes_from_anywhere_never_give_a_traceback(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "x"
    path.write_bytes(data)
    with pytest.raises(DataError):
        records.read(path)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=3), st.lists, max_leaves=20))
def test_lines_with_a_good_checksum_and_odd_contents_are_data_errors(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("odd") / "x"
    path.write_bytes(encode("header", HEADER.to_dict()) + encode("trial", {"spec": value}))
    with pytest.raises(DataError, match="line 2 at byte"):
        records.read(path)


def bad_line(body: bytes) -> bytes:
    return b'%s,"crc32":"%08x"}' % (body, zlib.crc32(body))


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b'{"kind":"trial","x":NaN', "not a number"),
        (b'{"kind":"trial","x":-Infinity', "not a number"),
        (b'{"kind":"trial","kind":"trial"', "occurs twice"),
        (b'{"kind":"trial","x":' + b"[" * 100 + b"]" * 100, "nested deeper"),
        (b'{"kind":"trial","x":' + b"9" * 5000, "digits"),
        (b'{"kind":"trial","x":"\xff"', "utf-8"),
        (b'{"kind":"trial","x":"\xed\xa0\x80"', "utf-8"),  # half a character, not escaped
        (b'{"kind":"trial","x":["a\\uDC80"]', "half a character"),
        (b'{"kind":"trial","x":{"\\ud83d":1}', "half a character"),
    ],
)
def test_strict_json(body, what):
    with pytest.raises(ValueError, match=what):
        decode(bad_line(body))


def test_depth_is_not_a_matter_of_how_much_is_nested():
    fields = {"kind": "trial", "x": [[] for _ in range(200)]}
    assert decode(encode("trial", fields).strip()) == fields


def test_characters_beyond_the_basic_plane_are_whole():
    assert decode(encode("trial", {"x": "\U0001f600"}).strip()) == {
        "kind": "trial",
        "x": "\U0001f600",
    }


def test_a_bad_middle_line_is_named(written):
    lines = written.read_bytes().splitlines(keepends=True)
    offset = len(lines[0]) + len(lines[1])
    lines[2] = b"{}\n"
    written.write_bytes(b"".join(lines))
    with pytest.raises(DataError, match=f"line 3 at byte {offset} is bad"):
        records.read(written)


def test_a_trial_under_another_id_is_bad(written):
    raw = {"trial_id": "0" * 16, **small().to_dict()}
    with written.open("ab") as stream:
        stream.write(encode("trial", raw))
    with pytest.raises(DataError, match="not that of its spec"):
        records.read(written)


def test_a_newer_schema_is_refused_naming_both(tmp_path):
    path = tmp_path / "new.jsonl"
    path.write_bytes(encode("header", {**HEADER.to_dict(), "schema": records.SCHEMA + 41}))
    before = path.read_bytes()
    with pytest.raises(DataError, match=rf"schema {records.SCHEMA + 41}.*up to {records.SCHEMA}"):
        records.read(path)
    with pytest.raises(DataError, match="schema"):
        records.Writer.resume(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [0, -1, "1", 1.0, None, True])
def test_schemas_that_never_were(tmp_path, version):
    path = tmp_path / "odd.jsonl"
    path.write_bytes(encode("header", {**HEADER.to_dict(), "schema": version}))
    with pytest.raises(DataError, match="never written"):
        records.read(path)


def test_older_schemas_are_migrated_step_by_step(written, monkeypatch):
    whole = written.read_bytes()
    seen = []

    def migrate(kind, raw):
        seen.append(kind)
        return {**raw, "status": "killed"} if kind == "trial" else raw

    monkeypatch.setattr(records, "SCHEMA", records.SCHEMA + 2)
    monkeypatch.setitem(records.MIGRATIONS, 1, migrate)
    monkeypatch.setitem(records.MIGRATIONS, 2, migrate)
    results = records.read(written)
    assert [t.status for t in results.trials] == [Status.KILLED] * 3
    assert seen == ["header"] * 2 + ["trial"] * 6
    assert written.read_bytes() == whole


def test_the_last_of_two_records_of_a_trial_counts(written):
    writer, _ = records.Writer.resume(written)
    with writer:
        writer.append(small(1, Status.CRASHED))
    results = records.read(written)
    assert [(t.spec.repeat, t.status) for t in results.trials] == [
        (0, Status.OK),
        (1, Status.CRASHED),
        (2, Status.OK),
    ]


def test_resume_cuts_a_torn_line_and_goes_on(written):
    with written.open("ab") as stream:
        stream.write(b'{"kind":"trial","tri')
    writer, results = records.Writer.resume(written)
    with writer:
        assert len(results.trials) == 3
        assert "torn" in results.notes[0]
        writer.append(small(3))
    assert [t.spec.repeat for t in records.read(written).trials] == [0, 1, 2, 3]


def test_a_file_is_never_overwritten(written):
    whole = written.read_bytes()
    with pytest.raises(OutputError, match="--resume"):
        records.Writer.create(written, HEADER)
    assert written.read_bytes() == whole


def test_two_writers_of_one_file(written):
    writer, _ = records.Writer.resume(written)
    with writer, pytest.raises(OutputError, match="another faultbench"):
        records.Writer.resume(written)
    writer, _ = records.Writer.resume(written)
    writer.close()


@pytest.mark.parametrize("name", ["/dev/full", "/dev/null", ".", "missing/folder/r.jsonl"])
def test_places_that_take_no_results(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError):
        records.Writer.create(name, HEADER)
    assert list(tmp_path.iterdir()) == []


def test_a_symlink_is_not_followed_to_a_new_file(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError):
        records.Writer.create(tmp_path / "link", HEADER)
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_keeps_what_was_finished(written):
    script = (
        "import resource, signal, sys\n"
        "from faultbench import records\n"
        "from tests.test_records import small\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "writer, _ = records.Writer.resume(sys.argv[1])\n"
        "size = __import__('os').path.getsize(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))\n"
        "try:\n"
        "    writer.append(small(7))\n"
        "except records.OutputError as error:\n"
        "    print(error)\n"
    )
    before = written.read_bytes()
    root = Path(__file__).parent.parent
    env = {**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(written)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "finished trials are kept" in done.stdout, done.stderr
    assert written.read_bytes() == before


def test_only_what_is_kept_of_a_trial_is_held(written):
    with records.Writer.resume(written)[0] as writer:
        writer.append(small(1, Status.CRASHED))
    seen = []
    results = records.read_each(written, seen.append)
    assert results.trials == []
    assert [t.spec.repeat for t in seen] == [0, 1, 2, 1]
    assert results.header == HEADER
