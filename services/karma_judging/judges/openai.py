"""`openai`: any OpenAI-compatible chat endpoint. The verdict is read only from the last line, where the template says."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from karma.messages import JudgeItem, JudgeSpec, Turn, Verdict
from karma_judging.judges.template import render, template_hash
from karma_judging.judges.verdicts import verdict

_VERDICT = re.compile(r"^\W*verdict\W*(A|B|tie)\W*$", re.IGNORECASE)
_PROBABILITY = {"a": 1.0, "b": 0.0, "tie": 0.5}
_SHOWN_CHARACTERS = 200
_RATIONALE_CHARACTERS = 2000
_TOP_LOGPROBS = 10


class OpenAIJudge:
    """Asks for a verdict line, or with `options = {logprobs = true}` for a letter whose log-probability is read."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        """Verdicts as the endpoint gives them."""
        from karma.llm.openai import ChatRequest, client

        if spec.model is None:
            yield [verdict(spec, item, failure=f"judge {spec.name} names no model") for item in items]
            return
        brief = bool(spec.options.get("logprobs", False))
        extra = {"logprobs": True, "top_logprobs": _TOP_LOGPROBS, "max_tokens": 1} if brief else {}
        hashed = template_hash(spec.template, brief)
        requests = [
            ChatRequest((Turn("user", render(spec.template, item, brief)),), item.seed, extra) for item in items
        ]
        for group in client().complete(spec.model, requests):
            verdicts = []
            for place, result in group:
                probability, failure, rationale = None, result.failure, None
                if result.text is not None:
                    probability = _from_logprobs(result.first_tokens) if brief else None
                    if probability is None:
                        probability, rationale = parse(result.text)
                    if probability is None:
                        failure = f"unparsable verdict: {result.text.strip()[-_SHOWN_CHARACTERS:]!r}"
                verdicts.append(
                    verdict(
                        spec,
                        items[place],
                        probability=probability,
                        failure=failure,
                        template_hash=hashed,
                        rationale=rationale,
                        tokens_in=result.tokens_in,
                        tokens_out=result.tokens_out,
                        latency_s=result.latency_s,
                    )
                )
            yield verdicts


def parse(text: str) -> tuple[float | None, str | None]:
    """The probability that the last line of an answer states, and the rationale before it; None where it states none."""
    *before, last = text.strip().splitlines() or [""]
    found = _VERDICT.match(last.strip())
    if found is None:
        return None, None
    rationale = "\n".join(before).strip()[:_RATIONALE_CHARACTERS]
    return _PROBABILITY[found[1].lower()], rationale or None


def _from_logprobs(first_tokens: object) -> float | None:
    """P(A) among the probability of A and B as first token; None where neither is there."""
    mass = {"A": 0.0, "B": 0.0}
    if isinstance(first_tokens, dict):
        for token, logprob in first_tokens.items():
            if token.strip() in mass:
                mass[token.strip()] += math.exp(logprob)
    total = mass["A"] + mass["B"]
    return mass["A"] / total if total > 0 else None
