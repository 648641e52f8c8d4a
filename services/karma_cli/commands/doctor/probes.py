"""Probes of a model or judge that works: which settings its endpoint accepts, its limits, and how much it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from karma.llm.completions import ChatRequest, ChatResult, body_of, result_of
from karma.llm.refusals import FailedAttempt, refusal_of
from karma.llm.request_fields import dropped, next_changes
from karma.messages import JudgeSpec, ModelSpec
from karma.plugins.registry import judge_kind
from karma.telemetry.failure_kinds import kind_of
from karma_cli.commands.doctor.calls import ASKED_ANY, CALL_S, Called, endpoint_of, judge_pair, judge_prompt, long_pair
from karma_cli.commands.doctor.diagnosis import key_of
from karma_cli.commands.doctor.exchange import Exchange, endpoint_url, exchange
from karma_cli.commands.doctor.findings import Finding, Of, finding

_MOST_CHANGES = 8
_LIMIT_HEADERS = ("x-ratelimit-", "ratelimit-", "retry-after")
#: An equal second sample of fewer characters may be chance.
_TELLING_CHARACTERS = 12

_PROBABLY_WRONG = 0.4


@dataclass(frozen=True)
class Probed:
    """What a probe says. Texts are for the table: `works`, `refused`, `ignored`, `not sent` or `unknown`."""

    temperature: str = "unknown"
    logprobs: str = "unknown"
    limits: Mapping[str, str] = field(default_factory=dict)  # rate-limit headers by name
    findings: tuple[Finding, ...] = ()


def probe(spec: ModelSpec | JudgeSpec, called: Called) -> Probed:
    """Probe an endpoint by the same prompt with log-probabilities, and for a judge by a long pair."""
    model = endpoint_of(spec)
    if model is None:
        return Probed(findings=tuple(_of_verdict(spec, called)))
    messages = ASKED_ANY if isinstance(spec, ModelSpec) else judge_prompt(spec)
    request = ChatRequest(messages, seed=2, extra={"logprobs": True, "top_logprobs": 5})
    result, answer, left_out = _ask(model, request)
    found = [*_of_settings(spec, model, called, result, left_out), *_of_verdict(spec, called)]
    if isinstance(spec, JudgeSpec):
        found += _of_long_pair(spec)
    return Probed(
        temperature=_temperature(model, result, left_out, found),
        logprobs=_logprobs(result, left_out),
        limits={name: value for name, value in answer.headers.items() if name.startswith(_LIMIT_HEADERS)},
        findings=tuple(found),
    )


def _ask(spec: ModelSpec, request: ChatRequest) -> tuple[ChatResult | None, Exchange, tuple[str, ...]]:
    """The result, the last exchange, and the settings that the endpoint refused and that were left out."""
    changes: dict[str, str | int | None] = {}
    url, key = endpoint_url(str(spec.base_url), "/chat/completions"), key_of(spec)
    answer = Exchange()
    for _attempt in range(_MOST_CHANGES):
        answer = exchange("POST", url, key, body_of(spec, request, changes), min(CALL_S, spec.timeout_s))
        if answer.status is None:
            break
        try:
            if not 200 <= answer.status < 300:
                raise refusal_of(answer.status, answer.headers, answer.body)
            return result_of(answer.body, spec, request), answer, dropped(spec, request, changes)
        except FailedAttempt as cause:
            further = next_changes(spec, request, changes, cause)
            if not further:
                break
            changes.update(further)
    return None, answer, dropped(spec, request, changes)


def _of_settings(
    spec: ModelSpec | JudgeSpec, model: ModelSpec, called: Called, result: ChatResult | None, left_out: tuple[str, ...]
) -> Iterator[Finding]:
    of = _of(spec)
    for name in dict.fromkeys((*called.dropped, *left_out)):
        if name in ("logprobs", "top_logprobs"):
            continue
        code = {"temperature": "temperature-refused", "seed": "seed-refused"}.get(name, "field-refused")
        value = getattr(model, name, None)
        shown = "" if name == "seed" or value is None else f" {value}"
        yield finding(code, of, spec.name, f"the endpoint refuses {name}{shown}")
    if isinstance(spec, JudgeSpec):
        if spec.options.get("logprobs") and (result is None or not result.first_tokens):
            yield finding("logprobs-ignored", of, spec.name, "log-probabilities were asked for, and none came")
        if spec.options.get("structured") and called.note is not None:
            yield finding("structured-ignored", of, spec.name, f"JSON was asked for: {called.note}")
    elif (
        result is not None
        and result.text is not None
        and result.text == called.text
        and len(result.text) >= _TELLING_CHARACTERS
        and model.temperature not in ("default", 0)
        and "temperature" not in left_out
    ):
        read = f"two samples with other seeds at temperature {model.temperature} are the same text"
        yield finding("samples-identical", of, spec.name, read)


def _of_verdict(spec: ModelSpec | JudgeSpec, called: Called) -> Iterator[Finding]:
    probability = called.probability
    if (
        isinstance(spec, JudgeSpec)
        and judge_kind(spec.kind).reads_responses
        and probability is not None
        and probability < _PROBABLY_WRONG
    ):
        read = f"asked for 2 + 2, it prefers 5 to 4 (P(4 is better) {probability:.2f})"
        yield finding("verdict-wrong", "judge", spec.name, read)


def _of_long_pair(spec: JudgeSpec) -> Iterator[Finding]:
    failure = judge_pair(spec, long_pair()).failure
    if failure is not None and kind_of(failure) in ("prompt_cut", "does_not_fit"):
        yield finding("context-too-small", "judge", spec.name, failure)


def _temperature(model: ModelSpec, result: ChatResult | None, left_out: tuple[str, ...], found: list[Finding]) -> str:
    if any(one.code == "temperature-refused" for one in found) or "temperature" in left_out:
        return "refused"
    if model.temperature == "default":
        return "not sent"
    if result is None:
        return "unknown"
    return "ignored" if any(one.code == "samples-identical" for one in found) else "works"


def _logprobs(result: ChatResult | None, left_out: tuple[str, ...]) -> str:
    if "logprobs" in left_out:
        return "refused"
    if result is None:
        return "unknown"
    return "work" if result.first_tokens else "ignored"


def _of(spec: ModelSpec | JudgeSpec) -> Of:
    return "model" if isinstance(spec, ModelSpec) else "judge"
