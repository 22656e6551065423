from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultbench import host
from faultbench.errors import UsageError
from faultbench.model import Pin
from faultbench.sysfs import Sys, format_cpu_list, parse_cpu_list
from faultbench.topology import Topology, read_quota, read_topology


def tree(root: Path, sockets: int, cores: int, smt: int) -> Sys:
    """Make a /sys as Linux numbers CPUs: first threads of all cores, then their siblings."""
    total = sockets * cores * smt
    base = root / "sys/devices/system/cpu"
    for number in range(total):
        core = number % (sockets * cores)
        siblings = [core + k * sockets * cores for k in range(smt)]
        where = base / f"cpu{number}/topology"
        where.mkdir(parents=True)
        (where / "physical_package_id").write_text(f"{core // cores}\n")
        (where / "core_id").write_text(f"{core % cores}\n")
        (where / "thread_siblings_list").write_text(format_cpu_list(siblings) + "\n")
    (base / "online").write_text(f"0-{total - 1}\n")
    return Sys(root)


@given(st.sets(st.integers(0, 300), max_size=40))
def test_cpu_lists_round_trip(cpus):
    assert parse_cpu_list(format_cpu_list(sorted(cpus))) == sorted(cpus)


@pytest.mark.parametrize("text", ["a", "3-1", "-1", "1-2-3", "0-999999999", "1;2"])
def test_odd_cpu_lists_are_errors(text):
    with pytest.raises(ValueError, match=r".*"):
        parse_cpu_list(text)


def test_core_fills_cores_before_siblings_one_socket_first(tmp_path):
    topology = read_topology(tree(tmp_path, 2, 2, 2), range(8))
    assert topology.order(Pin.CORE) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert topology.order(Pin.SMT) == [0, 4, 1, 5, 2, 6, 3, 7]
    assert topology.order(Pin.SCATTER) == [0, 2, 1, 3, 4, 6, 5, 7]
    assert (topology.sockets, topology.cores, topology.usable) == (2, 4, 8)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 1), (2, 3, 2), (4, 2, 2)])
@pytest.mark.parametrize("pin", [Pin.CORE, Pin.SMT, Pin.SCATTER])
def test_every_placement_uses_each_cpu_once_before_any_twice(tmp_path, shape, pin):
    total = shape[0] * shape[1] * shape[2]
    topology = read_topology(tree(tmp_path, *shape), range(total))
    placed = topology.place(pin, 2 * total)
    assert sorted(placed[:total]) == list(range(total))
    assert placed[total:] == placed[:total]


def test_placement_stays_inside_the_mask(tmp_path):
    topology = read_topology(tree(tmp_path, 2, 4, 2), {1, 5, 9})
    for pin in Pin:
        assert set(topology.place(pin, 20)) <= {1, 5, 9, -1}
    assert topology.place(Pin.NONE, 3) == (-1, -1, -1)


def test_a_mask_without_an_online_cpu_is_told(tmp_path):
    with pytest.raises(UsageError, match="allows 99, online are 0-1"):
        read_topology(tree(tmp_path, 1, 2, 1), {99})


def test_no_sysfs_is_a_flat_machine(tmp_path):
    topology = read_topology(Sys(tmp_path), {0, 2})
    assert topology.order(Pin.CORE) == [0, 2]


def cgroup(root: Path, own: str, limits: dict[str, str]) -> Sys:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(own)
    for folder, text in limits.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / "cpu.max").write_text(text)
    return Sys(root)


def test_the_least_limit_on_the_way_up_counts(tmp_path):
    sys = cgroup(
        tmp_path,
        "0::/a/b\n",
        {
            "sys/fs/cgroup/a/b": "max 100000\n",
            "sys/fs/cgroup/a": "150000 100000\n",
            "sys/fs/cgroup": "400000 100000",
        },
    )
    assert read_quota(sys) == pytest.approx(1.5)
    assert Topology(read_topology(sys, range(4)).cpus, 1.5).usable == 2


def test_no_limit_is_none(tmp_path):
    assert read_quota(cgroup(tmp_path, "0::/\n", {"sys/fs/cgroup": "max 100000"})) is None
    assert read_quota(Sys(tmp_path / "nothing")) is None


def test_what_disturbs_is_found_with_figures_and_remedies(tmp_path):
    tree(tmp_path, 1, 2, 2)
    sys = cgroup(tmp_path, "0::/x\n", {"sys/fs/cgroup/x": "200000 100000"})
    (tmp_path / "proc/loadavg").write_text("3.20 1 1 1/1 1\n")
    (tmp_path / "proc/stat").write_text("cpu 900 0 0 5000 0 0 0 100 0 0\n")
    (tmp_path / "proc/cpuinfo").write_text("model name : Test CPU\nflags : fpu hypervisor\n")
    governor = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    governor.parent.mkdir(parents=True)
    governor.write_text("powersave\n")
    offline = tmp_path / "sys/devices/system/cpu/cpu3/cpufreq/scaling_governor"
    offline.mkdir(parents=True)  # cannot be read, as that of an offline CPU (EBUSY)
    found = host.disturbances(read_topology(sys, range(4)), sys)
    text = "\n".join(f"{d.what}: {d.mend}" for d in found)
    for word in ("2 CPUs of time", "load average 3.2", "10.0 %", "virtual", "powersave", "SMT"):
        assert word in text
    assert all(d.mend for d in found)
    assert [d.serious for d in found] == sorted((d.serious for d in found), reverse=True)


def test_identity_is_json_and_knows_this_host():
    import json

    topology = read_topology()
    identity = host.identity(topology)
    assert json.loads(json.dumps(identity, allow_nan=False)) == identity
    assert set(host.FACTS) <= identity.keys()
    assert host.unlike(identity, identity) == []
    (said,) = host.unlike(identity, {**identity, "cpu_model": "other"})
    assert said == f"CPU: {identity['cpu_model'][:60]}, other"
    assert host.unlike(identity, {}) == host.unlike({}, identity) == []
