"""Log-linear latency histograms: exact to 1/128 of the value, mergeable by adding counts.

A value below 256 ns is its own bucket; above, each power of two has 128 buckets. The core counts
with the same formula (``latency_edges()`` of the extensions; a test compares them).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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


def merge(histograms: Iterable[Mapping[str, int]]) -> dict[int, int]:
    """Add histograms as records hold them: bucket number as text to count."""
    total: dict[int, int] = {}
    for histogram in histograms:
        for bucket, count in histogram.items():
            total[int(bucket)] = total.get(int(bucket), 0) + count
    return total


def quantiles(histogram: Mapping[int, int], wanted: Iterable[float]) -> list[float | None]:
    """Return for each quantile the largest value of its bucket; None for an empty histogram.

    The value that at least that share of the samples does not exceed, so 1.0 is the maximum.
    """
    n = sum(histogram.values())
    order = sorted(histogram)
    result: list[float | None] = []
    for q in wanted:
        seen, need = 0, max(1, -int(-(q * n) // 1))
        value = None
        for bucket in order:
            seen += histogram[bucket]
            if seen >= need:
                value = float(bucket_edges(bucket)[1] - 1)
                break
        result.append(value if n else None)
    return result
