"""What one preference is worth beyond its label: lengths, agreement, tokens and cost."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any


def worth(row: Any) -> dict[str, Any]:
    """Of a preference as an exporter gets it. What is unknown is None.

    - `length_ratio`: characters of the chosen response over the rejected one's.
    - `agrees_with_competency`: whether the model won that the competencies favoured when the pair was formed.
    - `judge_agreement`: share of the judges, each over both orders, that prefer the chosen response; of two or more.
    - `tokens`: read and written for the two responses and the verdicts.
    - `cost`: theirs, USD.
    """
    calls = list(_calls(row))
    return {
        "length_ratio": len(row.chosen_text) / max(1, len(row.rejected_text)),
        "agrees_with_competency": agrees_with_competency(
            json.loads(row.reasons).get("win_probability"), row.chosen == row.response_a
        ),
        "judge_agreement": _judge_agreement(row),
        "tokens": None if any(None in call for call in calls) else sum(call[1] + call[2] for call in calls),
        "cost": None
        if any(None in call or call[0] not in row.prices for call in calls)
        else sum(row.prices[name].of(tokens_in, tokens_out) for name, tokens_in, tokens_out in calls),
    }


def agrees_with_competency(favoured: float | None, chose_a: bool) -> bool | None:
    """Whether the favoured model won, of the probability that a's wins; None where nothing was favoured."""
    return None if favoured is None or favoured == 0.5 else (favoured > 0.5) == chose_a


def _judge_agreement(row: Any) -> float | None:
    for_a: dict[str, list[float]] = defaultdict(list)
    for one in row.opinions:
        if one.probability is not None:
            for_a[one.judge].append(one.probability if one.shown == 0 else 1.0 - one.probability)
    if len(for_a) < 2:
        return None
    means = [sum(values) / len(values) for values in for_a.values()]
    chose_a = bool(row.chosen == row.response_a)
    return sum(mean > 0.5 if chose_a else mean < 0.5 for mean in means) / len(means)


def _calls(row: Any) -> Iterator[tuple[str, Any, Any]]:
    """Who was asked, tokens read, tokens written."""
    for side in ("chosen", "rejected"):
        yield getattr(row, f"{side}_model"), getattr(row, f"{side}_tokens_in"), getattr(row, f"{side}_tokens_out")
    for one in row.opinions:
        yield one.judge, one.tokens_in, one.tokens_out
