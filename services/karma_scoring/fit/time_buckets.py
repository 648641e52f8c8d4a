"""Time buckets: verdicts are counted together that came at about the same time, the coarser the longer ago.

A bucket is as wide as an eighth of its age at most (an exponential histogram; Datar, Gionis, Indyk & Motwani 2002,
SIAM Journal on Computing 31). So few buckets hold any length of time, and a moment can be told from its surroundings as
well where a model answers once an hour as where it answers twenty times a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

#: Width of the buckets that verdicts are counted in as they come, which are numbered from 1970 on. Narrower ones than
#: the time between two refits would gain nothing.
BUCKET_S = 2.0
_FINENESS = 8


def bucket_at(now: float) -> int:
    """The number of the bucket that a moment, in seconds since 1970, belongs to."""
    return int(now // BUCKET_S)


def coarse(bucket: int, now: int) -> int:
    """The bucket that holds `bucket` at the time of bucket `now`.

    Widths are powers of two and buckets begin at multiples of their width, so that they only ever merge whole. A bucket
    has the number of the first one that went into it.
    """
    width = 1 << max(0, ((now - bucket) // _FINENESS).bit_length() - 1)
    return bucket - bucket % width


def merges(buckets: Iterable[int], now: int) -> Mapping[int, int]:
    """Those of the buckets that are part of a wider one by now, with the number of that one."""
    return {bucket: wide for bucket in set(buckets) if (wide := coarse(bucket, now)) != bucket}
