"""`openai`: any OpenAI-compatible chat endpoint; its verdict line is read, or the log-probabilities of the letters."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from karma.config.judge_templates import template_hash
from karma.errors import SettingsError
from karma.extraction.markup import without_end_tokens
from karma.messages import JudgeItem, JudgeSpec, Turn, Verdict
from karma_judging.structured import RESPONSE_FORMAT, parse_structured
from karma_judging.template import render
from karma_judging.verdict_lines import parse, parse_letter
from karma_judging.verdicts import LEAST_MASS, guarded, model_of, share_of_first, verdict

if TYPE_CHECKING:
    from karma.llm.completions import ChatResult

_SHOWN_CHARACTERS = 200
_TOP_LOGPROBS = 10
_MOST_IDS = 64
#: White space around a letter; some servers give raw tokens, in which it is a sign of the tokenizer (`ĠA`, `▁A`).
_WORDS = re.compile(r"\W*[AB][ \t]+\w")  # an article, or a sentence, where a letter was asked for
_BLANKS = " \t\r\n▁ĠĊ"


class OpenAIJudge:
    """Asks for a verdict line; by its options for a letter whose log-probability is read, or for JSON of a schema."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        """One verdict per item, as the endpoint answers.

        Raises:
            SettingsError: the specification names no model, an unknown template, or options that exclude each other.
        """
        from karma.batches.client import complete
        from karma.llm.completions import ChatRequest

        model = model_of(spec)
        brief = bool(spec.options.get("logprobs", False))
        extra = _fields(spec, brief)
        hashed = template_hash(spec, brief)
        requests = [ChatRequest((Turn("user", render(spec, item, brief)),), item.seed, extra) for item in items]
        for group in complete(model, requests):
            yield [
                guarded(spec, items[index], partial(_verdict, spec, items[index], result, hashed, brief))
                for index, result in group
            ]


def _fields(spec: JudgeSpec, brief: bool) -> dict[str, Any]:
    """The fields of a request that the judge's options ask for."""
    structured, ids = bool(spec.options.get("structured", False)), spec.options.get("logprob_token_ids")
    if structured and brief:
        raise SettingsError(
            f"judge {spec.name} has options.structured and options.logprobs, and an answer of one token is no JSON. "
            "Expected one of the two"
        )
    if ids is not None:
        known = isinstance(ids, list | tuple) and all(type(token) is int and token >= 0 for token in ids)
        if not known or not brief or not 2 <= len(ids) <= _MOST_IDS:
            raise SettingsError(
                f"judge {spec.name} has options.logprob_token_ids {ids!r:.100}. Expected logprobs = true, and the ids "
                f"of the tokens A and B in the endpoint's vocabulary, such as [32, 33], at most {_MOST_IDS}"
            )
    if not brief:
        return {"response_format": RESPONSE_FORMAT} if structured else {}
    exact = {} if ids is None else {"logprob_token_ids": list(ids)}
    return {"logprobs": True, "top_logprobs": _TOP_LOGPROBS, "max_tokens": 1, **exact}


def _verdict(spec: JudgeSpec, item: JudgeItem, result: ChatResult, hashed: str, brief: bool) -> Verdict:
    from karma.llm.finish import finish_of

    probability, failure, rationale, is_line = None, result.failure, None, False
    if result.prompt_cut is not None:  # whatever it says, it is not about the two responses
        failure = result.prompt_cut
    elif brief and result.reasoning is None and not _WORDS.match(result.text or ""):
        # The first token of reasoning or of a sentence may be an "A" that is no letter. An answer without visible text
        # still has its probabilities.
        probability = from_logprobs(result.first_tokens)
    is_read = probability is not None
    if probability is None and result.text is not None and result.prompt_cut is None:
        cut = not brief and finish_of(result.finish_reason) == "length"
        probability, rationale, is_line = _read(spec, result, brief, cut)
        if probability is None:
            limit = f"cut by the token limit (finish_reason {result.finish_reason}): " if cut else ""
            failure = f"unparsable verdict: {limit}{_shown(result.text)}"
    return verdict(
        spec,
        item,
        probability=probability,
        failure=failure if probability is None else None,
        template_hash=hashed,
        rationale=rationale,
        tokens_in=result.tokens_in,
        tokens_out=result.tokens_out,
        tokens_cached=result.tokens_cached,
        tokens_reasoning=result.tokens_reasoning,
        latency_s=result.latency_s,
        note=_note(result, brief and not is_read, is_line) if probability is not None else None,
    )


def _read(spec: JudgeSpec, result: ChatResult, brief: bool, cut: bool) -> tuple[float | None, str | None, bool]:
    """The probability and the rationale in a text, and whether its line was read although JSON was asked for.

    Some endpoints ignore the field, and answer in lines. An answer that begins as an object has to be one of the
    schema, unless the endpoint refused the field.
    """
    text = result.text or ""
    if brief:
        return *parse_letter(text), False
    if not spec.options.get("structured") or "response_format" in result.dropped:
        return *parse(text, cut), False
    if without_end_tokens(text).lstrip().startswith("{"):
        return *parse_structured(without_end_tokens(text)), False
    return *parse(text, cut), True


def _note(result: ChatResult, is_letter: bool, is_line: bool) -> str | None:
    """What was odd about a valid verdict.

    `is_letter`: its letter was read although probabilities were asked for; `is_line`: its line although JSON was.
    """
    came = "no log-probabilities came" if result.logprobs_missing else "the log-probabilities are not those of a letter"
    missing = [f"{came}, so the letter alone was read"] if is_letter else []
    missing += ["no JSON came, so the verdict line was read"] if is_line else []
    left_out = [f"settings that the endpoint refused: {', '.join(result.dropped)}"] if result.dropped else []
    return "; ".join(missing + left_out) or None


def _shown(text: str) -> str:
    """The end of an answer in quotes, where its verdict was expected. Cut twice because escapes make it longer."""
    from karma.llm.key_masking import mask

    return repr(mask(text.strip())[2 - _SHOWN_CHARACTERS :])[:_SHOWN_CHARACTERS]


def from_logprobs(first_tokens: Mapping[str, float]) -> float | None:
    """P(A) / (P(A) + P(B)) for the first token, from its log-probabilities; None if neither letter is likely.

    A letter that is not among the tokens has at most the probability of the least likely one, and what all of them
    leave. It is taken to have that much: an endpoint may give one token alone.
    """
    # An endpoint may return a log-probability above 0, and its exponential may overflow.
    likely = {token: math.exp(min(0.0, logprob)) for token, logprob in first_tokens.items()}
    mass: dict[str, float] = {}
    for token, probability in likely.items():
        letter = token.strip(_BLANKS)
        if letter in ("A", "B"):
            mass[letter] = mass.get(letter, 0.0) + probability
    if sum(mass.values()) < LEAST_MASS:
        return None
    unseen = min(max(0.0, 1.0 - sum(likely.values())), *likely.values())
    return share_of_first(mass.get("A", unseen), mass.get("B", unseen))
