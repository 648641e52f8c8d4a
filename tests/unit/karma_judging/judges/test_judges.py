"""What each judge makes of a pair, without a model: a stub stands in for the likelihoods."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from karma.errors import SettingsError
from karma.llm.generation import LabelProbability, Likelihood
from karma.llm.transformers import LocalModel
from karma.messages import JudgeItem, JudgeSpec, ModelSpec, Turn, Verdict
from karma.telemetry.failure_kinds import kind_of
from karma_judging import worker
from karma_judging.judges import verifier
from karma_judging.judges.openai import from_logprobs
from karma_judging.verdicts import sigmoid

MODEL = ModelSpec(name="m", backend="transformers", model="nowhere")


def pair(first: str = "x", second: str = "y", **more: object) -> JudgeItem:
    named = {"item": 1, "pair": 2, "prompt": 3, "order": 0, "seed": 4, "messages": (Turn("user", "Hi"),)} | more
    return JudgeItem(first=first, second=second, **named)  # type: ignore[arg-type]


def judged(spec: JudgeSpec, *items: JudgeItem) -> list[Verdict]:
    return [one for group in worker.ask(spec, items) for one in group]


class TestVerifier:
    SPEC = JudgeSpec(name="v", kind="verifier", checker="exact")

    @pytest.mark.parametrize(
        ("first", "second", "probability"), [("4", "5", 1.0), ("5", "4", 0.0), ("4", " 4", 0.5), ("5", "6", 0.5)]
    )
    def test_right_against_wrong_is_a_win_and_all_else_a_tie(self, first: str, second: str, probability: float) -> None:
        assert judged(self.SPEC, pair(first, second, reference="4"))[0].probability == probability

    def test_a_pair_without_a_reference_is_a_failure_and_no_tie(self) -> None:
        found = judged(self.SPEC, pair())[0]

        assert (found.probability, found.failure) == (None, "no reference")

    def test_a_reference_that_the_checker_cannot_read_fails_its_own_pair_only(self) -> None:
        spec = JudgeSpec(name="v", kind="verifier", checker="number")

        odd, sound = judged(spec, pair(reference="four"), pair("4", "5", reference="4", item=2))

        assert (odd.probability, sound.probability) == (None, 1.0)
        assert "four" in (odd.failure or "")

    @pytest.mark.parametrize(("first", "second"), [("3,5", "3.5"), ("3.5", "3,5"), ("3,5", "4"), ("3,5", "3,5")])
    def test_an_answer_that_cannot_be_read_decides_nothing(self, first: str, second: str) -> None:
        spec = JudgeSpec(name="v", kind="verifier", checker="number")

        found = judged(spec, pair(first, second, reference="3.5"))[0]

        assert found.probability is None
        assert kind_of(found.failure or "") == "nothing_to_go_by"

    def test_a_checker_may_return_anything_that_is_true_or_false(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verifier, "checker", lambda _name: lambda text, _reference: int(text == "4"))

        assert judged(self.SPEC, pair("4", "5", reference="4"))[0].probability == 1.0

    def test_the_text_of_an_outside_error_is_not_stored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verifier, "checker", lambda _name: lambda text, _reference: {}[text])

        found = judged(self.SPEC, pair("the prompt's words", reference="4"))[0]

        assert found.failure == "the checker exact failed: KeyError"

    def test_an_unknown_checker_is_named(self) -> None:
        with pytest.raises(SettingsError, match="no checker is called 'nosuch'; known are: answer"):
            judged(JudgeSpec(name="v", kind="verifier", checker="nosuch"), pair(reference="4"))


class TestPrior:
    SPEC = JudgeSpec(name="p", kind="prior")

    def test_it_repeats_what_the_competencies_expect(self) -> None:
        assert judged(self.SPEC, pair(prior=0.8))[0].probability == 0.8

    def test_it_fails_where_they_expect_nothing(self) -> None:
        assert judged(self.SPEC, pair())[0].failure is not None


class Scores:
    """Stands in for a model: a response's likelihood is told by its text, `nats/tokens`."""

    def log_likelihood(
        self, _chats: Sequence[object], responses: Sequence[str], *_batch: int | None
    ) -> list[Likelihood]:
        return [
            Likelihood(failure="too long")
            if text == "long"
            else Likelihood(float(text.split("/")[0]), int(text.split("/")[1]))
            for text in responses
        ]

    def label_probability(self, chats: Sequence[Sequence[Turn]], *_more: object) -> list[LabelProbability]:
        return [LabelProbability(0.3, 0.1) if "GOOD" in chat[0].content else LabelProbability() for chat in chats]


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalModel, "load", staticmethod(lambda _spec: Scores()))


@pytest.mark.usefixtures("scores")
class TestLikelihood:
    def spec(self, **more: object) -> JudgeSpec:
        return JudgeSpec(**({"name": "l", "kind": "likelihood", "model": MODEL} | more))  # type: ignore[arg-type]

    def test_the_mean_per_token_decides_by_default(self) -> None:
        """−6 nats over 3 tokens against −4 over 1: −2 against −4 a token."""
        assert judged(self.spec(), pair("-6/3", "-4/1"))[0].probability == pytest.approx(1 / (1 + math.exp(-2)))

    def test_the_sum_decides_if_asked(self) -> None:
        found = judged(self.spec(options={"normalise": "sum"}), pair("-6/3", "-4/1"))[0]

        assert found.probability == pytest.approx(1 / (1 + math.exp(2)))

    def test_the_scale_divides_the_difference(self) -> None:
        assert judged(self.spec(scale=0.5), pair("-1/1", "-2/1"))[0].probability == pytest.approx(
            1 / (1 + math.exp(-2))
        )

    def test_swapping_the_responses_mirrors_the_probability(self) -> None:
        one, other = judged(self.spec(), pair("-6/3", "-4/1"), pair("-4/1", "-6/3"))

        assert one.probability == pytest.approx(1 - (other.probability or 0))

    def test_a_response_that_does_not_fit_fails_its_own_pair_only(self) -> None:
        odd, sound = judged(self.spec(), pair("long", "-4/1"), pair("-1/1", "-1/1"))

        assert (odd.failure, sound.probability) == ("too long", 0.5)

    def test_two_identical_responses_are_an_exact_tie_whatever_the_batches_rounded(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Rounding(Scores):
            def log_likelihood(
                self, _chats: Sequence[object], responses: Sequence[str], *_batch: int | None
            ) -> list[Likelihood]:
                return [Likelihood(-1.0 + place * 1e-6, 1) for place, _text in enumerate(responses)]

        monkeypatch.setattr(LocalModel, "load", staticmethod(lambda _spec: Rounding()))

        assert judged(self.spec(scale=1e-6), pair("same", "same"))[0].probability == 0.5

    def test_two_identical_responses_that_do_not_fit_are_a_failure_and_no_tie(self) -> None:
        found = judged(self.spec(), pair("long", "long"))[0]

        assert (found.probability, found.failure) == (None, "too long")

    def test_a_likelihood_that_is_not_a_number_never_becomes_certainty(self) -> None:
        found = judged(self.spec(), pair("nan/1", "-1/1"))[0]

        assert found.probability is not None
        assert math.isnan(found.probability)

    @pytest.mark.parametrize(
        ("odd", "said"),
        [
            ({"scale": 0.0}, "has scale 0.0"),
            ({"model": None}, r"names no model; give it a table \[judges\.l\.model\]"),
            ({"options": {"normalise": "median"}}, "normalise 'median'"),
        ],
    )
    def test_a_specification_that_cannot_be_is_refused(self, odd: dict[str, object], said: str) -> None:
        with pytest.raises(SettingsError, match=f"judge l.*{said}"):
            judged(self.spec(**odd), pair("-1/1", "-1/1"))


@pytest.mark.usefixtures("scores")
class TestTransformers:
    SPEC = JudgeSpec(name="t", kind="transformers", model=MODEL)

    def test_the_two_labels_share_what_they_have_between_them(self) -> None:
        found = judged(self.SPEC, pair("GOOD", "y"))[0]

        assert found.probability == pytest.approx(0.75)
        assert len(found.template_hash) == 12

    def test_a_model_that_gives_neither_label_a_chance_has_no_verdict(self) -> None:
        assert judged(self.SPEC, pair("x", "y"))[0].probability is None


def test_the_sigmoid_overflows_nowhere() -> None:
    assert (sigmoid(-1e6), sigmoid(0.0), sigmoid(1e6)) == (0.0, 0.5, 1.0)


def test_log_probabilities_of_both_spellings_of_a_letter_add_up() -> None:
    tokens = {"A": math.log(0.3), " A": math.log(0.3), "B": math.log(0.2), "The": math.log(0.2)}

    assert from_logprobs(tokens) == pytest.approx(0.75)


def test_letters_that_are_both_unlikely_are_no_verdict() -> None:
    assert from_logprobs({"A": math.log(0.02), "B": math.log(0.01), "Well": math.log(0.9)}) is None
