import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultbench.histogram import SUB_BITS, bucket_edges, bucket_of, merge, quantiles


@given(st.integers(0, 2**40))
def test_a_value_lies_in_its_bucket(value):
    low, above = bucket_edges(bucket_of(value))
    assert low <= value < above
    assert above - low <= max(1, value >> SUB_BITS)


@given(st.integers(0, 4000))
def test_buckets_leave_no_gap(bucket):
    assert bucket_edges(bucket)[1] == bucket_edges(bucket + 1)[0]


@given(st.lists(st.integers(0, 2**30), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_quantiles_are_those_of_the_values_up_to_a_bucket(values, q):
    histogram = merge([{str(bucket_of(v)): 1} for v in values])
    (found,) = quantiles(histogram, [q])
    values.sort()
    rank = next(i for i in range(1, len(values) + 1) if i >= q * len(values) or i == len(values))
    low, above = bucket_edges(bucket_of(values[rank - 1]))
    assert found == above - 1
    assert low <= values[rank - 1] <= found


def test_no_samples_have_no_quantile():
    assert quantiles({}, [0.5, 1.0]) == [None, None]


def test_the_engine_counts_with_the_same_buckets():
    engine = pytest.importorskip("faultbench._threads", reason="the extension is not built")
    edges = list(engine.latency_edges())
    assert all(bucket_edges(n)[0] == low for n, low in enumerate(edges[:-1]))
