"""Time buckets: an exponential histogram of the times of verdicts.

A bucket is at most an eighth of its age wide (Datar, Gionis, Indyk & Motwani 2002, SIAM Journal on Computing 31). So
few buckets cover any length of time, and a change is located with the same relative accuracy in a slow stream as in a
fast one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

#: Width of a new bucket, in seconds; buckets are numbered from 1970 on. About the time between two refits: narrower
#: buckets would gain nothing.
BUCKET_S = 2.0
_FINENESS = 8


def bucket_at(now: float) -> int:
    """The number of the bucket that contains a time in seconds since 1970."""
    return int(now // BUCKET_S)


def coarse(bucket: int, now: int) -> int:
    """The number of the merged bucket that contains `bucket` at the time of bucket `now`.

    Widths are powers of two and a bucket starts at a multiple of its width, so buckets are only ever merged whole. A
    merged bucket has the number of its first one.
    """
    width = 1 << max(0, ((now - bucket) // _FINENESS).bit_length() - 1)
    return bucket - bucket % width


def merges(buckets: Iterable[int], now: int) -> Mapping[int, int]:
    """Bucket → merged bucket, for those of the buckets that are part of a wider one by now."""
    return {bucket: wide for bucket in set(buckets) if (wide := coarse(bucket, now)) != bucket}
