"""Hypothesis strategies for specs and trials."""

from __future__ import annotations

from hypothesis import strategies as st

from faultbench import rules
from faultbench.model import (
    Access,
    Handler,
    Map,
    Order,
    Path,
    Pin,
    Status,
    Trial,
    TrialSpec,
    WriterOp,
)

COUNTS = st.integers(0, 2**62)


@st.composite
def specs(draw: st.DrawFn) -> TrialSpec:
    """Any spec, whether it can exist or not."""
    path = draw(st.sampled_from(Path))
    kernel = draw(st.sampled_from(sorted(set(rules.KERNELS) - {"v6.3"})))
    return TrialSpec(
        machine=draw(st.sampled_from(["threads", "virtual:generic"])),
        kernel=kernel,
        path=path,
        rules=rules.resolve(kernel, path),
        handler=draw(st.sampled_from(Handler)),
        order=draw(st.sampled_from(Order)),
        access=draw(st.sampled_from(Access)),
        map=draw(st.sampled_from(Map)),
        sync=draw(st.booleans()),
        fallback_ppm=draw(st.integers(0, 10**6)),
        threads=draw(st.integers(1, 64)),
        vmas=draw(st.integers(1, 64)),
        files=draw(st.integers(0, 64)),
        mms=draw(st.integers(1, 64)),
        overlap=draw(st.booleans()),
        writers=draw(st.integers(0, 4)),
        writer_op=draw(st.sampled_from(WriterOp)),
        duration_ns=draw(st.integers(0, 10**10)),
        faults=draw(st.integers(0, 10**9)),
        pin=draw(st.sampled_from(Pin)),
        seed=draw(st.integers(0, 2**63 - 1)),
        repeat=draw(st.integers(0, 100)),
    )


@st.composite
def trials(draw: st.DrawFn) -> Trial:
    """Any trial that a records file could hold."""
    spec = draw(specs())
    n = spec.threads
    per_worker = st.lists(st.integers(0, 2**50), min_size=n, max_size=n)
    names = ["faults", "window_ns", "cpu_ns", "start_ns", "end_ns", "parks", "mmap_lock_reads"]
    return Trial(
        spec,
        draw(st.sampled_from(Status)),
        tuple(draw(st.lists(st.sampled_from(["skew", "steal", "loaded"]), unique=True))),
        draw(st.text(max_size=40)),
        worker={name: draw(per_worker) for name in draw(st.sets(st.sampled_from(names)))},
        latency=draw(
            st.dictionaries(
                st.sampled_from(["direct", "retried"]),
                st.dictionaries(st.integers(0, 4000).map(str), st.integers(1, 2**40), max_size=5),
                max_size=2,
            )
        ),
        cpus=tuple(draw(st.lists(st.integers(-1, 4096), max_size=4))),
        host=draw(st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=2)),
    )
