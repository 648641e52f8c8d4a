"""Pairs with all their verdicts: the row of their resolution, and the record that figures are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from karma.store.records import NewResolution, PairRecord, PairRow, VerdictRow
from karma.store.resolution_weights import weights_json
from karma.verdicts import CANARY, Resolution


@dataclass(frozen=True)
class Resolved:
    """A pair with its resolution and all its verdicts."""

    pair: PairRow
    resolution: Resolution
    verdicts: Sequence[VerdictRow]


def record_of(resolved: Resolved, stream: str, now: float) -> PairRecord:
    """The record of a pair that was resolved at the time `now`, seconds since 1970."""
    resolution = resolved.resolution
    return PairRecord(
        pair=resolved.pair,
        stream=stream,
        outcome=resolution.outcome if resolved.pair.canary is None else CANARY,
        a_is_chosen=resolution.a_is_chosen,
        probability=resolution.probability,
        label_source="judge" if resolution.outcome == "decisive" and resolved.pair.canary is None else None,
        resolved_at=now,
        verdicts=resolved.verdicts,
        weighed=resolution.weighed,
    )


def resolution_of(resolved: Resolved) -> NewResolution:
    """The row of a resolved pair. A canary is no preference, whatever its verdicts say."""
    pair, resolution = resolved.pair, resolved.resolution
    is_canary = pair.canary is not None
    decisive = resolution.outcome == "decisive" and not is_canary
    sides = (pair.response_a, pair.response_b) if resolution.a_is_chosen else (pair.response_b, pair.response_a)
    chosen, rejected = sides if decisive else (None, None)
    return NewResolution(
        pair=pair.id,
        prompt=pair.prompt,
        outcome=CANARY if is_canary else resolution.outcome,
        chosen=chosen,
        rejected=rejected,
        probability=resolution.probability,
        flipped=None if resolution.flipped is None else int(resolution.flipped),
        label_source="judge" if decisive else None,
        reason=resolution.reason,
        weights=weights_json(resolution.weighed),
    )
