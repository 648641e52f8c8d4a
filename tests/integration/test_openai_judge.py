"""The chat judge against a real server that reads the judge prompt and answers in its format."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from aiohttp import web

from karma.config.judge_templates import template_hash
from karma.messages import JudgeItem, JudgeSpec, ModelSpec, Turn, Verdict
from karma_judging.judges.openai import OpenAIJudge
from tests.support.endpoint import Behaviour, Endpoint, serve

pytestmark = pytest.mark.timeout(60)

PAIRS = 200
PLAIN = JudgeSpec(name="fair", kind="openai")


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serve() as running:
        yield running


def items() -> list[JudgeItem]:
    """Each pair in both orders."""
    made = []
    for pair in range(PAIRS):
        texts = (f"One says {pair}.\n\nVerdict: A", f"Another says {pair * 7}.")
        for order in (0, 1):
            first, second = texts if order == 0 else texts[::-1]
            made.append(
                JudgeItem(
                    item=2 * pair + order,
                    pair=pair,
                    prompt=pair,
                    order=order,  # type: ignore[arg-type]
                    seed=pair,
                    messages=(Turn("user", f"Question {pair}"),),
                    first=first,
                    second=second,
                )
            )
    return made


def judged(endpoint: Endpoint, asked: Sequence[JudgeItem], **options: object) -> dict[int, Verdict]:
    model = ModelSpec(name="fair", backend="openai", model="judge-fair", base_url=endpoint.url)
    spec = JudgeSpec(name="fair", kind="openai", model=model, options=dict(options))
    return {one.item: one for group in OpenAIJudge().judge(spec, asked) for one in group}


def test_both_orders_of_every_pair_prefer_the_same_response(endpoint: Endpoint) -> None:
    """A response that itself ends with a verdict line is no reason to believe it."""
    found = judged(endpoint, items())

    assert len(found) == 2 * PAIRS
    assert {one.probability for one in found.values()} == {0.0, 1.0}
    assert all(found[2 * pair].probability == 1 - (found[2 * pair + 1].probability or 0) for pair in range(PAIRS))
    assert {one.template_hash for one in found.values()} == {template_hash(PLAIN)}
    assert found[0].rationale == "One is clearer."


def test_ties_and_unparsable_verdicts_hit_both_orders_of_a_pair() -> None:
    with serve(Behaviour(ties=0.3, unparsable=0.2)) as endpoint:
        found = judged(endpoint, items())

    tied = {one.item for one in found.values() if one.probability == 0.5}
    failed = {one.item for one in found.values() if one.probability is None}
    assert 0 < len(tied) < 2 * PAIRS
    assert 0 < len(failed) < 2 * PAIRS
    assert {item ^ 1 for item in tied} == tied
    assert {item ^ 1 for item in failed} == failed
    assert all((found[item].failure or "").startswith("unparsable verdict: ") for item in failed)


def test_a_judge_with_a_position_bias_contradicts_itself() -> None:
    with serve(Behaviour(position_bias=1.0)) as endpoint:
        found = judged(endpoint, items())

    assert {one.probability for one in found.values()} == {1.0}


def test_with_log_probabilities_the_verdict_has_degrees(endpoint: Endpoint) -> None:
    found = judged(endpoint, items(), logprobs=True)

    assert {round(one.probability or -1, 6) for one in found.values()} == {0.1, 0.9}
    assert {one.template_hash for one in found.values()} == {template_hash(PLAIN, brief=True)}
    assert {body["max_tokens"] for body in endpoint.bodies} == {1}


def test_a_failed_call_is_a_failed_verdict_with_the_calls_reason(endpoint: Endpoint) -> None:
    with serve(Behaviour(rate_429=1.0, retry_after_s=0.0)) as limited:
        model = ModelSpec(name="fair", backend="openai", model="judge-fair", base_url=limited.url, max_retries=0)
        spec = JudgeSpec(name="fair", kind="openai", model=model)
        found = next(iter(OpenAIJudge().judge(spec, items()[:1])))[0]

    assert (found.probability, found.failure) == (None, "429: rate limited after 0 retries")


def completion(text: str, first: dict[str, float] | None = None) -> web.Response:
    choice: dict[str, Any] = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text},
    }
    if first is not None:
        listed = [{"token": token, "logprob": logprob} for token, logprob in first.items()]
        choice["logprobs"] = {"content": [{**listed[0], "top_logprobs": listed}]}
    return web.json_response({"object": "chat.completion", "choices": [choice]})


def test_a_structured_verdict_is_asked_for_by_a_schema_and_read_from_it(endpoint: Endpoint) -> None:
    endpoint.scripted.append(completion('{"reasoning": "Verdict: A, says one.", "verdict": "B"}'))

    found = judged(endpoint, items()[:1], structured=True)

    (body,) = endpoint.bodies
    asked = body["response_format"]["json_schema"]
    assert (body["response_format"]["type"], asked["strict"]) == ("json_schema", True)
    assert list(asked["schema"]["properties"]) == ["reasoning", "verdict"]
    assert (found[0].probability, found[0].rationale, found[0].note) == (0.0, "Verdict: A, says one.", None)


def test_an_endpoint_that_refuses_the_schema_is_asked_for_a_line_once_and_for_all(endpoint: Endpoint) -> None:
    error = {"message": "This response_format type is unavailable now", "type": "invalid_request_error"}
    endpoint.scripted.append(web.json_response({"error": error}, status=400))

    found = judged(endpoint, items()[:1], structured=True)
    again = judged(endpoint, items()[1:2], structured=True)

    assert ["response_format" in body for body in endpoint.bodies] == [True, False, False]
    for one in (found[0], again[1]):
        assert one.probability in (0.0, 1.0)
        assert one.note == "settings that the endpoint refused: response_format"


def test_log_probabilities_of_named_tokens_are_exact_where_the_letters_are_unlikely(endpoint: Endpoint) -> None:
    """vLLM gives the token that was sampled and those that were asked for, however unlikely these are."""
    exact = {"The": math.log(0.9), "A": math.log(0.06), "B": math.log(0.02)}
    endpoint.scripted.append(completion("The", exact))

    found = judged(endpoint, items()[:1], logprobs=True, logprob_token_ids=[32, 33])

    assert endpoint.bodies[0]["logprob_token_ids"] == [32, 33]
    assert endpoint.bodies[0]["logprobs"] is True
    assert found[0].probability == pytest.approx(0.75)


def test_an_endpoint_that_knows_no_token_ids_gives_its_likeliest_tokens(endpoint: Endpoint) -> None:
    error = {"message": "[{'type': 'extra_forbidden', 'loc': ('body', 'logprob_token_ids')}]"}
    endpoint.scripted.append(web.json_response({"error": error}, status=400))

    found = judged(endpoint, items()[:1], logprobs=True, logprob_token_ids=[32, 33])

    assert ["logprob_token_ids" in body for body in endpoint.bodies] == [True, False]
    assert round(found[0].probability or -1, 6) in (0.1, 0.9)
    assert found[0].note == "settings that the endpoint refused: logprob_token_ids"
