"""`given`: the verdicts that came with the prompts (`karma enqueue --verdicts-as`), under this judge's name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from karma.messages import JudgeItem, JudgeSpec, Verdict
from karma_judging.verdicts import verdict


class GivenJudge:
    """Repeats the verdict that a pair's ratings are."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        """One verdict per item; a failure where the source rated fewer than both responses."""
        missing = f"no verdict of {spec.name} came with this pair (karma enqueue --verdicts-as {spec.name})"
        yield [
            verdict(spec, item, probability=item.given)
            if item.given is not None
            else verdict(spec, item, failure=missing)
            for item in items
        ]
