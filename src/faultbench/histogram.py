"""Log-linear latency histograms: exact to 1/128 of the value, mergeable by adding counts.

A value below 256 ns is its own bucket; above, each power of two has 128 buckets. The core counts
with the same formula (``latency_edges()`` of the extensions; a test compares them).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate

SUB_BITS = 7


def bucket_edges(bucket: int) -> tuple[int, int]:
    """Return the least value of `bucket` and the least value above it, in ns."""
    if bucket < 2 << SUB_BITS:
        return bucket, bucket + 1
    shift = (bucket >> SUB_BITS) - 1
    low = ((bucket & ((1 << SUB_BITS) - 1)) | 1 << SUB_BITS) << shift
    return low, low + (1 << shift)


def bucket_of(value: int) -> int:
    """Return the bucket that counts `value` ns."""
    shift = max(0, value.bit_length() - SUB_BITS - 1)
    return (shift << SUB_BITS) + (value >> shift)


class _Numbers(dict[str, int]):
    """Numbers of buckets, each read once: histograms have a few thousand, a file millions."""

    def __missing__(self, bucket: str) -> int:
        number = self[bucket] = int(bucket)
        return number


_NUMBERS = _Numbers()


def merge(histograms: Iterable[Mapping[str, int]]) -> dict[int, int]:
    """Add histograms as records hold them: bucket number as text to count."""
    total: Mapping[str, int] = {}
    own: dict[str, int] = {}
    for histogram in histograms:
        if not total:
            total = histogram  # most trials have one outcome only: nothing to add
            continue
        if total is not own:
            total = own = dict(total)
        for bucket, count in histogram.items():
            own[bucket] = own.get(bucket, 0) + count
    merged = dict(zip(map(_NUMBERS.__getitem__, total), total.values(), strict=True))
    if len(merged) == len(total):
        return merged
    merged = {}
    for bucket, count in total.items():  # "7" and "07" are one bucket
        number = _NUMBERS[bucket]
        merged[number] = merged[number] + count if number in merged else count
    return merged


def quantiles(histogram: Mapping[int, int], wanted: Iterable[float]) -> list[float | None]:
    """Return for each quantile the largest value of its bucket; None for an empty histogram.

    The value that at least that share of the samples does not exceed, so 1.0 is the maximum.
    """
    order = sorted(histogram)
    seen = list(accumulate(map(histogram.__getitem__, order)))
    n = seen[-1] if seen else 0
    if not n:
        return [None for _ in wanted]
    needs = (max(1, -int(-(q * n) // 1)) for q in wanted)
    return [float(bucket_edges(order[bisect_left(seen, need)])[1] - 1) for need in needs]
