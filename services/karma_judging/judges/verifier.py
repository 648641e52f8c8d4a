"""`verifier`: a reference answer and a checker. Right against wrong is a win, everything else a tie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from karma.messages import JudgeItem, JudgeSpec, Verdict
from karma.plugins import checker
from karma.plugins.protocols import Checker
from karma_judging.verdicts import verdict


class VerifierJudge:
    """Checks both responses against the prompt's reference."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        """One verdict an item.

        Raises:
            SettingsError: there is no such checker.
        """
        is_right = checker(spec.checker)
        yield [_judged(spec, item, is_right) for item in items]


def _judged(spec: JudgeSpec, item: JudgeItem, is_right: Checker) -> Verdict:
    if item.reference is None:
        return verdict(spec, item, failure="no reference")
    try:
        first, second = is_right(item.first, item.reference), is_right(item.second, item.reference)
    except Exception as cause:  # of one item: what a checker cannot read harms no other pair
        return verdict(spec, item, failure=f"the checker {spec.checker} failed: {cause}"[:200])
    return verdict(spec, item, probability=0.5 + (bool(first) - bool(second)) / 2)
