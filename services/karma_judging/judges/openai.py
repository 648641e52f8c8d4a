"""`openai`: any OpenAI-compatible chat endpoint. Only the last line is read as a verdict, as the template demands."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from karma.messages import JudgeItem, JudgeSpec, Turn, Verdict
from karma_judging.template import render, template_hash
from karma_judging.verdicts import model_of, verdict

if TYPE_CHECKING:
    from karma.llm.completions import ChatResult

_VERDICT = re.compile(r"\W*verdict\W+(A|B|tie)\W*", re.IGNORECASE)
_LETTER = re.compile(r"\W*(A|B)\W*")
_PROBABILITY = {"a": 1.0, "b": 0.0, "tie": 0.5}
_SHOWN_CHARACTERS = 200
_RATIONALE_CHARACTERS = 2000
_TOP_LOGPROBS = 10
#: Least probability of the two letters together; below it the model was about to say something else.
_LEAST_MASS = 0.05


class OpenAIJudge:
    """Asks for a verdict line, or with `options = {logprobs = true}` for a letter whose log-probability is read."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        """One verdict per item, as the endpoint answers.

        Raises:
            SettingsError: the specification names no model, or an unknown template.
        """
        from karma.llm.completions import ChatRequest
        from karma.llm.openai import client

        model = model_of(spec)
        brief = bool(spec.options.get("logprobs", False))
        extra = {"logprobs": True, "top_logprobs": _TOP_LOGPROBS, "max_tokens": 1} if brief else {}
        hashed = template_hash(spec.template, brief)
        requests = [
            ChatRequest((Turn("user", render(spec.template, item, brief)),), item.seed, extra) for item in items
        ]
        for group in client().complete(model, requests):
            yield [_verdict(spec, items[index], result, hashed, brief) for index, result in group]


def _verdict(spec: JudgeSpec, item: JudgeItem, result: ChatResult, hashed: str, brief: bool) -> Verdict:
    probability, failure, rationale = None, result.failure, None
    if brief:  # a first token without visible text is an empty answer that still has its probabilities
        probability = from_logprobs(result.first_tokens)
    if probability is None and result.text is not None:
        probability, rationale = parse_letter(result.text) if brief else parse(result.text)
        if probability is None:
            failure = f"unparsable verdict: {_shown(result.text)}"
    return verdict(
        spec,
        item,
        probability=probability,
        failure=failure if probability is None else None,
        template_hash=hashed,
        rationale=rationale,
        tokens_in=result.tokens_in,
        tokens_out=result.tokens_out,
        latency_s=result.latency_s,
    )


def _shown(text: str) -> str:
    """The end of an answer in quotes, where its verdict was expected. Cut twice because escapes make it longer."""
    return repr(text.strip()[2 - _SHOWN_CHARACTERS :])[:_SHOWN_CHARACTERS]


def parse(text: str) -> tuple[float | None, str | None]:
    """The probability from the last line of an answer and the rationale before it; None if there is no verdict line.

    Contradictory verdict lines count as none, because one of them may be a quotation.
    """
    *before, last = text.strip().splitlines() or [""]
    stated = _VERDICT.fullmatch(last)
    if stated is None:
        return None, None
    label = stated[1].lower()
    if any(other is not None and other[1].lower() != label for other in map(_VERDICT.fullmatch, before)):
        return None, None
    rationale = "\n".join(before).strip()[:_RATIONALE_CHARACTERS]
    return _PROBABILITY[label], rationale or None


def parse_letter(text: str) -> tuple[float | None, None]:
    """The probability from an answer of one letter; None for any other answer."""
    letter = _LETTER.fullmatch(text.strip())
    return (_PROBABILITY[letter[1].lower()] if letter else None), None


def from_logprobs(first_tokens: Mapping[str, float]) -> float | None:
    """P(A) / (P(A) + P(B)) for the first token, from its log-probabilities; None if neither letter is likely."""
    mass = {"A": 0.0, "B": 0.0}
    for token, logprob in first_tokens.items():
        if token.strip() in mass:
            # An endpoint may return a log-probability above 0, and its exponential may overflow.
            mass[token.strip()] += math.exp(min(0.0, logprob))
    total = mass["A"] + mass["B"]
    return mass["A"] / total if total >= _LEAST_MASS else None
