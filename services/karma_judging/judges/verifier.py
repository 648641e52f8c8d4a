"""`verifier`: compares responses with a reference by a checker.

Right against wrong wins; both right or both wrong is a tie. If the checker cannot tell, there is no verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from karma.messages import JudgeItem, JudgeSpec, Verdict
from karma.messages.results import reason_of
from karma.plugins import checker
from karma.plugins.protocols import Checker
from karma_judging.verdicts import verdict


class VerifierJudge:
    """Checks both responses against the prompt's reference."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        """One verdict per item.

        Raises:
            SettingsError: no checker has the name.
        """
        is_right = checker(spec.checker)
        yield [_judged(spec, item, is_right) for item in items]


def _judged(spec: JudgeSpec, item: JudgeItem, is_right: Checker) -> Verdict:
    if item.reference is None:
        return verdict(spec, item, failure="no reference")
    try:
        first, second = is_right(item.first, item.reference), is_right(item.second, item.reference)
        if first is None or second is None:
            unread = "both responses" if first is second else f"the {'first' if first is None else 'second'} response"
            return verdict(
                spec, item, failure=f"no certain answer: {spec.checker} cannot tell whether {unread} is right"
            )
        return verdict(spec, item, probability=0.5 + (bool(first) - bool(second)) / 2)
    except Exception as cause:  # an unreadable item must not affect other pairs
        return verdict(spec, item, failure=reason_of(cause, f"the checker {spec.checker} failed"))
