"""What the chat judge reads from an endpoint's answer is untrusted: numbers and texts that cannot be change nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.errors import SettingsError
from karma.llm import openai
from karma.llm.completions import ChatRequest, ChatResult
from karma.messages import JudgeItem, JudgeSpec, ModelSpec, Turn, Verdict
from karma_judging.judges.openai import OpenAIJudge, from_logprobs

MODEL = ModelSpec(name="m", backend="openai", model="judge", base_url="http://127.0.0.1:9/v1")
LOGPROBS = st.floats(allow_nan=False, allow_infinity=False)


class Recorded:
    """Stands in for the client: gives one result a request, in one group."""

    def __init__(self, results: list[ChatResult]) -> None:
        self.results = results

    def complete(self, _spec: ModelSpec, requests: list[ChatRequest]) -> list[list[tuple[int, ChatResult]]]:
        assert len(requests) == len(self.results)
        return [list(enumerate(self.results))]


def judged(monkeypatch: pytest.MonkeyPatch, results: list[ChatResult], **options: object) -> list[Verdict]:
    monkeypatch.setattr(openai, "client", lambda: Recorded(results))
    turns = (Turn("user", "Hi"),)
    items = [
        JudgeItem(item=n, pair=n, prompt=n, order=0, seed=n, messages=turns, first="x", second="y")
        for n in range(len(results))
    ]
    spec = JudgeSpec(name="j", kind="openai", model=MODEL, options=dict(options))
    return [one for group in OpenAIJudge().judge(spec, items) for one in group]


@given(st.dictionaries(st.sampled_from(["A", " A", "B", "B ", "The"]), LOGPROBS))
def test_whatever_numbers_an_endpoint_gives_they_are_a_probability_or_none(tokens: dict[str, float]) -> None:
    found = from_logprobs(tokens)

    assert found is None or 0.0 <= found <= 1.0


def test_an_impossible_log_probability_fails_no_other_item_of_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = ChatResult(text="A", first_tokens={"A": 1000.0, "B": 1000.0})
    sound = ChatResult(text="A", first_tokens={"A": -0.1, "B": -3.0})

    found = judged(monkeypatch, [odd, sound], logprobs=True)

    assert [one.failure for one in found] == [None, None]
    assert found[0].probability == 0.5
    assert found[1].probability == pytest.approx(0.948, abs=1e-3)


@pytest.mark.parametrize("text", ["no verdict " * 100, "\x1f" * 300 + ".", "\U000e0001" * 300])
def test_a_reason_shows_at_most_200_characters_of_the_answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    found = judged(monkeypatch, [ChatResult(text=text)])[0]

    assert found.probability is None
    assert (found.failure or "").startswith("unparsable verdict: ")
    assert len(found.failure or "") <= len("unparsable verdict: ") + 200


def test_a_rationale_keeps_at_most_2000_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    found = judged(monkeypatch, [ChatResult(text="long " * 1000 + "\nVerdict: B")])[0]

    assert found.probability == 0.0
    assert len(found.rationale or "") == 2000


def test_without_log_probabilities_the_letter_itself_is_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoints that do not know `logprobs` ignore it."""
    assert judged(monkeypatch, [ChatResult(text="B")], logprobs=True)[0].probability == 0.0


def test_raw_tokens_of_a_tokenizer_are_letters_too() -> None:
    assert from_logprobs({"ĠA": -0.1, "▁B": -3.0}) == pytest.approx(from_logprobs({"A": -0.1, "B": -3.0}))


def test_a_verdict_without_the_requested_log_probabilities_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = ChatResult(text="B", logprobs_missing=True)
    sound = ChatResult(text="A", first_tokens={"A": -0.1, "B": -3.0})

    found = judged(monkeypatch, [bare, sound], logprobs=True)

    assert found[0].note == "no log-probabilities came, so the letter alone was read"
    assert found[1].note is None


def test_settings_that_the_endpoint_refused_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    found = judged(monkeypatch, [ChatResult(text="Verdict: A", dropped=("seed",))])

    assert found[0].note == "settings that the endpoint refused: seed"


def test_a_verdict_on_a_prompt_that_was_cut_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    found = judged(monkeypatch, [ChatResult(text="Verdict: A", prompt_cut="the endpoint cut the prompt: …")])

    assert (found[0].probability, found[0].failure) == (None, "the endpoint cut the prompt: …")


def test_a_verdict_that_was_cut_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = judged(monkeypatch, [ChatResult(text="A is clear and", finish_reason="length")])

    assert (found[0].failure or "").startswith("unparsable verdict: cut by the token limit (finish_reason length)")


@pytest.mark.parametrize("logprobs", [True, False])
def test_a_result_that_raises_fails_no_other_item_of_its_batch(monkeypatch: pytest.MonkeyPatch, logprobs: bool) -> None:
    odd = ChatResult(text="A", first_tokens={"A": "high"})  # type: ignore[dict-item]
    results = [odd, ChatResult(text="A" if logprobs else "Verdict: A")]

    found = judged(monkeypatch, results, logprobs=logprobs)

    assert found[0].probability is None
    assert found[1].probability == 1.0


@pytest.mark.parametrize(
    "odd",
    [
        ChatResult(text="A thorough look is needed", first_tokens={"A": -0.1, "B": -3.0}),
        ChatResult(failure="unfinished reasoning", reasoning="A", first_tokens={"A": -0.1, "B": -3.0}),
    ],
)
def test_an_a_that_begins_a_sentence_or_the_reasoning_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, odd: ChatResult
) -> None:
    assert judged(monkeypatch, [odd], logprobs=True)[0].probability is None


def test_a_letter_after_reasoning_is_read_and_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    found = judged(monkeypatch, [ChatResult(text="B", reasoning="A", first_tokens={"A": -0.1})], logprobs=True)[0]

    assert found.probability == 0.0
    assert found.note == "the log-probabilities are not those of a letter, so the letter alone was read"


@pytest.mark.parametrize(
    ("tokens", "probability"),
    [
        ({"A": 0.0}, 1.0),
        ({"B": 0.0, "A": -30.0}, 0.0),
        ({"A": math.log(0.9)}, 0.9),
        ({"A": math.log(0.4)}, 0.5),  # B may be as likely
        ({"B": math.log(0.8), "The": math.log(0.15)}, 0.05 / 0.85),
        ({"The": 0.0}, None),
        ({"The": math.log(0.9), "A": math.log(0.03)}, None),
    ],
)
def test_a_letter_that_is_not_listed_may_have_what_is_left(tokens: dict[str, float], probability: float | None) -> None:
    assert from_logprobs(tokens) == (None if probability is None else pytest.approx(probability))


class TestStructured:
    JSON = '{"reasoning": "Clearer.", "verdict": "B"}'

    def test_an_object_of_the_schema_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (found,) = judged(monkeypatch, [ChatResult(text=self.JSON + "</s>")], structured=True)

        assert (found.probability, found.rationale, found.note) == (0.0, "Clearer.", None)

    def test_the_line_is_read_where_the_endpoint_refused_the_field(self, monkeypatch: pytest.MonkeyPatch) -> None:
        results = [ChatResult(text="Clear.\nVerdict: A", dropped=("response_format",))]

        (found,) = judged(monkeypatch, results, structured=True)

        assert (found.probability, found.rationale) == (1.0, "Clear.")
        assert found.note == "settings that the endpoint refused: response_format"

    def test_the_line_is_read_where_the_endpoint_ignored_the_field(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (found,) = judged(monkeypatch, [ChatResult(text="Clear.\nVerdict: A")], structured=True)

        assert (found.probability, found.note) == (1.0, "no JSON came, so the verdict line was read")

    @pytest.mark.parametrize(
        "text", ['{"reasoning": "x", "verdict": "A", "verdict": "B"}', '{"winner": "A"}', '{"reasoning": "Verdict: A']
    )
    def test_an_object_of_another_form_is_no_verdict(self, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        (found,) = judged(monkeypatch, [ChatResult(text=text)], structured=True)

        assert found.probability is None
        assert (found.failure or "").startswith("unparsable verdict: ")

    def test_it_is_another_identity_than_a_verdict_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (one,) = judged(monkeypatch, [ChatResult(text=self.JSON)], structured=True)
        (other,) = judged(monkeypatch, [ChatResult(text=self.JSON)])

        assert one.template_hash != other.template_hash


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"structured": True, "logprobs": True}, "judge j has options.structured and options.logprobs"),
        ({"logprob_token_ids": [32, 33]}, r"options.logprob_token_ids \[32, 33\]. Expected logprobs = true"),
        ({"logprobs": True, "logprob_token_ids": [32]}, "the ids of the tokens A and B"),
        ({"logprobs": True, "logprob_token_ids": ["A", "B"]}, "the ids of the tokens A and B"),
        ({"logprobs": True, "logprob_token_ids": [True, -1]}, "the ids of the tokens A and B"),
        ({"logprobs": True, "logprob_token_ids": 32}, "the ids of the tokens A and B"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, object], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        judged(monkeypatch, [ChatResult(text="A")], **options)
