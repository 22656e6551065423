"""Options: whatever is typed, an answer or one clear message."""

import re
import resource
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultbench import config, costs, plan, values
from faultbench.errors import FaultbenchError, UsageError
from faultbench.machines import description
from tests.fake import FakeMachine
from tests.test_plan import TWO

ODD = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        "nan inf -inf -1 0 1e30 1e309 99999999999999999999 0x10 1_000 ١٢ ½ ' , ,, 1,,2 - -- "
        "../../etc/passwd ${HOME} %s {} \x00 \x1b[31m ± 1-1000000 5-1 max,max 0x 1x 1e3x".split(" ")
    ),
    st.floats(allow_nan=True).map(str),
    st.integers().map(str),
)


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(st.sampled_from(config.RAW), ODD, min_size=1, max_size=3))
def test_any_text_gives_a_plan_or_a_short_message(given):
    try:
        options = config.parse(given)
        if options.machine == "threads" and options.repeats < 10:
            plan.build(options, FakeMachine(), TWO, costs.load(options.cost))
    except UsageError as error:
        message = str(error)
        assert message
        assert len(message.splitlines()) <= 2
        assert len(message) < 600
        assert all(c.isprintable() or c == "\n" for c in message)


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("1", (1,)),
        ("1,2,4-6", (1, 2, 4, 5, 6)),
        ("max", (8,)),
        ("2x,max", (8, 16)),
        ("4-16:4", (4, 8, 12, 16)),
        ("2,1,2", (1, 2)),
    ],
)
def test_threads(text, counts):
    assert values.threads(text, 8) == counts


@pytest.mark.parametrize(
    "text", ["0", "-1", "nan", "1e30", "x", "max2", "5-1", "1,,2", "1-2-3", "0x"]
)
def test_threads_that_are_none(text):
    with pytest.raises(UsageError, match="--threads"):
        values.threads(text, 8)


@pytest.mark.parametrize(("limit", "counts"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6))])
def test_default_threads(limit, counts):
    assert values.default_threads(limit) == counts


@pytest.mark.parametrize(
    ("text", "ns"),
    [("250ms", 250_000_000), ("1.5s", 1_500_000_000), ("2", 2 * 10**9), ("1m", 6e10)],
)
def test_times(text, ns):
    assert values.duration("duration", text, 10**6, 10**12) == ns


@pytest.mark.parametrize("text", ["", "s", "-1s", "nan", "inf", "1e30", "1h", "0", "1 s s", "٣s"])
def test_times_that_are_none(text):
    with pytest.raises(UsageError, match="--duration"):
        values.duration("duration", text, 10**6, 10**12)


def test_a_file_for_a_path_is_told_what_to_type():
    with pytest.raises(UsageError, match=r"--mapping file:/tmp/data.*-o /tmp/data") as caught:
        config.parse({"path": "/tmp/data"})
    assert len(str(caught.value).splitlines()) == 2


def test_a_near_miss_gets_a_hint():
    with pytest.raises(UsageError, match="did you mean direct"):
        config.parse({"path": "dircet"})
    with pytest.raises(UsageError, match="did you mean device-dax"):
        config.parse({"handler": "devicedax"})


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"duration": "1s", "faults": "5"}, "give one"),
        ({"machine": "kernel", "kernel": "v6.5"}, "this kernel is"),
        ({"machine": "kernel", "handler": "ext4"}, "--mapping"),
        ({"mapping": "anon"}, "--machine kernel"),
        ({"pin": "core,smt"}, "one placement"),
        ({"set": "prefetchw"}, "KNOB=VALUE"),
        ({"set": "prefetchw=maybe"}, "on, off"),
        ({"set": "vma_lock=none"}, "separate"),
        ({"set": "seq=int,seq=seqcount"}, "given twice"),
        ({"kernel": "v5.4"}, "v6.3"),
        ({"fallback": "1.5"}, "fraction"),
        ({"repeats": "0"}, "from 1"),
        ({"colour": "red"}, "unknown option"),
        ({"path": "false"}, "unknown; there are"),
        ({"faults": "10", "warmup": "20ms"}, "by a count or by a share"),
    ],
)
def test_contradictions(given, what):
    with pytest.raises(UsageError, match=re.escape(what)):
        config.parse(given)


def test_a_warmup_by_count_is_no_time():
    """A count of more than an hour's seconds was refused: wants 0ns to 60m."""
    options = config.parse({"faults": "1000000", "warmup": "100000"})
    assert config.warmup(options, 0, options.faults) == (0, 100_000)


def test_toml_and_command_line_say_the_same(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text(
        'handler = ["ext4", "xfs"]\nthreads = [1, 2]\nrepeats = 3\nduration = "100ms"\n'
        'sync = true\n[set]\nprefetchw = false\nvma_lock = ["inline", "separate"]\n'
    )
    typed = {
        "handler": "ext4,xfs",
        "threads": "1,2",
        "repeats": "3",
        "duration": "100ms",
        "sync": "true",
        "set": "prefetchw=off,vma_lock=inline|separate",
    }
    assert config.parse(config.read_config(str(file))) == config.parse(typed)


@pytest.mark.parametrize(
    "text", ["", "x", "threads = ", "threads = {a=1}", "colour = 1", "[sweep]\n[other]", "\xff"]
)
def test_odd_toml(tmp_path, text):
    file = tmp_path / "s.toml"
    file.write_bytes(text.encode("latin-1"))
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        parsed = None
    if parsed == {}:
        assert config.read_config(str(file)) == {}
        return
    with pytest.raises(UsageError, match="config"):
        config.parse(config.read_config(str(file)))


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_no_toml(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FaultbenchError, match="--config"):
        config.read_config(name)


def test_a_file_without_an_end_is_refused(tmp_path):
    """Its size is 0: it was read until the memory was full."""
    readers = {
        "--config": config.read_config,
        "--cost": costs.load,
        "--machine": description.load,
    }
    limit = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, limit[1]))
    try:
        for option, read in readers.items():
            with pytest.raises(UsageError, match=f"{option}.*larger than"):
                read("/dev/zero")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)
