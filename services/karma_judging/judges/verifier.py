"""`verifier`: a reference answer and a checker. Right against wrong is a win, everything else a tie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from karma.checkers import checker
from karma.messages import JudgeItem, JudgeSpec, Verdict
from karma_judging.judges.verdicts import verdict


class VerifierJudge:
    """Checks both responses against the prompt's reference."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        """One verdict an item."""
        is_right = checker(spec.checker)
        verdicts = []
        for item in items:
            if item.reference is None:
                verdicts.append(verdict(spec, item, failure="no reference"))
                continue
            first, second = is_right(item.first, item.reference), is_right(item.second, item.reference)
            verdicts.append(verdict(spec, item, probability=0.5 + (first - second) / 2))
        yield verdicts
