"""Pairs with their resolution and verdicts, and the records of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from karma.store.records import NewResolution, PairRecord, PairRow, VerdictRow
from karma.store.resolution_weights import weights_json
from karma.verdicts import Resolution


@dataclass(frozen=True)
class Resolved:
    """A pair with its resolution and all its verdicts."""

    pair: PairRow
    resolution: Resolution
    verdicts: Sequence[VerdictRow]


def record_of(resolved: Resolved, stream: str, now: float) -> PairRecord:
    """The pair with its outcome, as it is read from the store."""
    resolution = resolved.resolution
    return PairRecord(
        pair=resolved.pair,
        stream=stream,
        outcome=resolution.outcome,
        a_is_chosen=resolution.a_is_chosen,
        probability=resolution.probability,
        label_source="judge" if resolution.outcome == "decisive" else None,
        resolved_at=now,
        verdicts=resolved.verdicts,
        weighed=resolution.weighed,
    )


def resolution_of(resolved: Resolved) -> NewResolution:
    """The resolution as it is stored."""
    pair, resolution = resolved.pair, resolved.resolution
    decisive = resolution.outcome == "decisive"
    sides = (pair.response_a, pair.response_b) if resolution.a_is_chosen else (pair.response_b, pair.response_a)
    chosen, rejected = sides if decisive else (None, None)
    return NewResolution(
        pair=pair.id,
        prompt=pair.prompt,
        outcome=resolution.outcome,
        chosen=chosen,
        rejected=rejected,
        probability=resolution.probability,
        flipped=None if resolution.flipped is None else int(resolution.flipped),
        label_source="judge" if decisive else None,
        reason=resolution.reason,
        weights=weights_json(resolution.weighed),
    )
