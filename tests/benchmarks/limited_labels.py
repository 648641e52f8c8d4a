"""Streams with a limit on the error of predicted labels: whether it holds over the whole stream. For `hard_cases`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from karma_matching.budget.allocation import Budget
from tests.benchmarks.finding import Finding
from tests.benchmarks.gated_stream import GatedStream, any_two

_SHARE = 0.3


class Limited(NamedTuple):
    """What came of one stream."""

    error: float  # of all predicted labels that went out; nan where none did
    judged: float  # share of all pairs
    judged_late: float  # of the last third
    labels: int  # that went out


def limited(seed: int, limit: float | None, prompts: int, spread: float = 2.0, variance: float = 0.3) -> Limited:
    """One stream of eight models, `judge_share = 0.3`.

    Args:
        seed: of models and prompts.
        limit: `max_label_error`.
        prompts: one pair each.
        spread: standard deviation of the models' competencies, logits.
        variance: of a response's quality around its model's.
    """
    theta = np.random.default_rng(seed).normal(0, spread, 8)
    stream = GatedStream(theta, Budget(judge_share=_SHARE), seed, variance=variance, max_label_error=limit)
    log = stream.run(range(prompts), any_two)
    out = ~log.judged & (log.verdict != 0)
    error = log.label_error(out) if out.any() else float("nan")
    return Limited(error, float(log.judged.mean()), float(log.judged[-prompts // 3 :].mean()), int(out.sum()))


def limited_labels(streams: int = 60, prompts: int = 4_000) -> list[Finding]:
    """Streams whose labels can be right often enough, and a third as many where hardly any can."""
    return [
        finding
        for what, spread, variance, number in (("clear", 2.0, 0.3, streams), ("noisy", 1.2, 2.0, streams // 3))
        for limit in (0.1, 0.05)
        for finding in _summed_up(
            f"{what}, limit {limit:g}",
            limit,
            [limited(seed, limit, prompts, spread, variance) for seed in range(number)],
        )
    ]


def _summed_up(what: str, limit: float, rows: list[Limited]) -> list[Finding]:
    error, judged, late, labels = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    kept, some = ~(error > limit), labels > 0
    return [
        Finding(
            "limited-labels", f"{what}: {name}", float(values.mean()), true, float(values.std() / len(values) ** 0.5)
        )
        for name, values, true in (
            ("streams that keep it", kept, 0.95),
            ("label error", error[some] if some.any() else np.array([np.nan]), limit),
            ("judged", judged, _SHARE),
            ("judged of the last third", late, _SHARE),
            ("streams with labels", some, 1.0),
        )
    ]
