"""`prior`: predicts by the models' competencies; it reads no response."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from karma.messages import JudgeItem, JudgeSpec, Verdict
from karma_judging.verdicts import verdict


class PriorJudge:
    """Returns the win probability by competency when the pair was formed."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        """One verdict per item."""
        yield [
            verdict(spec, item, probability=item.prior)
            if item.prior is not None
            else verdict(spec, item, failure="nothing is known about the competencies of the two models")
            for item in items
        ]
