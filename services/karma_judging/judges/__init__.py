"""Judges: the ways to judge a pair, by the name that a pool file gives under `kind`. One family a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from karma.messages import JudgeItem, JudgeSpec, Verdict
from karma_judging.judges.likelihood import LikelihoodJudge
from karma_judging.judges.openai import OpenAIJudge
from karma_judging.judges.prior import PriorJudge
from karma_judging.judges.transformers import TransformersJudge
from karma_judging.judges.verifier import VerifierJudge


class Judge(Protocol):
    """Judges batches; verdicts come in groups, as soon as they are there, in any order."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        """The verdicts on `items`, each a probability that the first shown is better, or a failure with its reason."""
        ...


JUDGES: Mapping[str, Callable[[], Judge]] = {
    "likelihood": LikelihoodJudge,
    "openai": OpenAIJudge,
    "prior": PriorJudge,
    "transformers": TransformersJudge,
    "verifier": VerifierJudge,
}
