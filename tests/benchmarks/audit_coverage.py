"""Whether the audit's 95 % interval covers the true error of the labels of the goal `train`. For `hard_cases`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

import numpy as np

from karma_scoring.fit.predictions.judge_budget import present_audits, present_error
from tests.benchmarks.finding import Finding
from tests.benchmarks.sure_stream import Kind, SureStream

#: Easy and hard pools, with and without a target, one pair a prompt and three.
KINDS = tuple(
    Kind(spread, target=target, pairs=pairs) for pairs, target, spread in product((1, 3), (False, True), (2.0, 0.7))
)


class Look(NamedTuple):
    """What the audit says of a stream so far, and what is true of the labels that it speaks of."""

    audited: int  # decisive ones
    said: float
    low: float
    high: float
    true: float

    @property
    def covered(self) -> bool:
        """Whether the interval holds the truth."""
        return self.low <= self.true <= self.high


def look(stream: SureStream, prompts: int) -> Look | None:
    """The audit after so many prompts; None where it says nothing, or no label has a decisive verdict to be held to."""
    labels = [label for label in stream.labels if label.prompt < prompts]
    audited = [label.audited for label in labels if label.is_audit][::-1]
    unjudged = sum(not label.judged for label in labels)
    error = present_error(audited, unjudged)
    present, _ = present_audits(audited, unjudged)
    since = min((each.prompt for each in present), default=0) if len(present) < len(audited) else 0
    of = [label.wrong for label in labels if not label.judged and label.verdict != 0 and label.prompt >= since]
    if error is None or not of:
        return None
    return Look(error.audited, error.estimate, error.low, error.high, sum(of) / len(of))


def audit_coverage(streams: int = 500, prompts: int = 1_000) -> list[Finding]:
    """As many streams of all kinds in turn, looked at after three tenths of their prompts and at the end."""
    looks: dict[tuple[Kind, int], list[Look | None]] = {}
    for seed in range(streams):
        kind = KINDS[seed % len(KINDS)]
        stream = SureStream(kind, seed).run(prompts)
        for seen in (3 * prompts // 10, prompts):
            looks.setdefault((kind, seen), []).append(look(stream, seen))
    found = []
    for seen in sorted({seen for _, seen in looks}):
        for what, kinds in (
            ("all streams", KINDS),
            ("easy pools", [kind for kind in KINDS if kind.spread > 1.0]),
            ("hard pools", [kind for kind in KINDS if kind.spread < 1.0]),
            ("without a target", [kind for kind in KINDS if not kind.target]),
            ("with a target", [kind for kind in KINDS if kind.target]),
            ("one pair a prompt", [kind for kind in KINDS if kind.pairs == 1]),
            ("three pairs a prompt", [kind for kind in KINDS if kind.pairs > 1]),
        ):
            rows = [each for kind in kinds for each in looks.get((kind, seen), [])]
            found += _summed_up(f"{seen:,} prompts, {what}", rows)
    return found


def _summed_up(what: str, looks: Iterable[Look | None]) -> list[Finding]:
    rows = [each for each in looks if each is not None]
    covered = np.array([each.covered for each in rows], dtype=np.float64)
    said = np.array([each.said for each in rows])
    width = np.array([each.high - each.low for each in rows])
    true = float(np.mean([each.true for each in rows]))
    return [
        Finding(
            "audit-coverage", f"{what}: {name}", float(values.mean()), truth, float(values.std() / len(rows) ** 0.5)
        )
        for name, values, truth in (("covered", covered, 0.95), ("error", said, true), ("width", width, 0.0))
    ]
