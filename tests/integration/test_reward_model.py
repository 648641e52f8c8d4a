"""Reward models of random weights, made here, against plain unbatched computations; and the judge on top of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from karma.errors import SettingsError
from karma.llm.reward import RewardModel
from karma.messages import Header, JudgeBatch, JudgeItem, JudgeSpec, ModelSpec, Turn, Verdict
from karma_judging import worker
from karma_judging.handlers import judge
from tests.integration.test_local_model import CONTEXT, TEXTS, chat, make_model, make_tokenizer

RESPONSES = ["yes", "!", "a long answer that goes on for a while", "naïve", "no"]


def llama(folder: Path, labels: int = 1, **more: Any) -> LlamaForSequenceClassification:
    """A decoder with a head, and a tokenizer whose chat template ends every turn."""
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=259,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.3,
        num_labels=labels,
        **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, **more},
    )
    model = LlamaForSequenceClassification(config).eval()
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return model


def spec(folder: Path, **more: Any) -> ModelSpec:
    return ModelSpec(name="r", backend="transformers", model=str(folder), **more)


def judge_spec(folder: Path, **more: Any) -> JudgeSpec:
    return JudgeSpec(**{"name": "r", "kind": "reward", "both_orders": False, "model": spec(folder), **more})


def pair(number: int, first: str, second: str, text: str = "Hi") -> JudgeItem:
    return JudgeItem(
        item=number, pair=number, prompt=1, order=0, seed=0, messages=chat(text), first=first, second=second
    )


def judged(asked: JudgeSpec, *items: JudgeItem) -> list[Verdict]:
    return [one for group in worker.ask(asked, items) for one in group]


def alone(model: Any, ids: Sequence[int], **more: Any) -> float:
    """The logit of one text, without padding."""
    with torch.no_grad():
        return float(model(input_ids=torch.tensor([list(ids)]), **more).logits[0, 0])


def turns(text: str, response: str) -> list[int]:
    tokenizer = make_tokenizer()
    return [1, *tokenizer(text)["input_ids"], 2, *tokenizer(response)["input_ids"], 2]


@pytest.mark.parametrize("pad", [0, 2, None], ids=["its own", "the end of a turn", "none"])
def test_scores_of_a_batch_are_the_raw_logits_of_each_text_alone(tmp_path: Path, pad: int | None) -> None:
    """With padding of the checkpoint's own, its rule for the last token holds; without, it is the last one."""
    plain = llama(tmp_path, pad_token_id=pad)

    found = RewardModel.load(spec(tmp_path)).scores([chat(text) for text in TEXTS], RESPONSES, batch=5)

    for text, response, one in zip(TEXTS, RESPONSES, found, strict=True):
        ids = turns(text, response)
        assert one.failure is None
        assert one.tokens == len(ids)
        assert one.logit == pytest.approx(alone(plain, ids), abs=1e-4)


def test_a_model_without_a_template_and_padding_is_read_at_the_last_token_whatever_it_is(tmp_path: Path) -> None:
    """Byte "!" is the token 3: no choice of a fixed padding would leave every text its last token."""
    torch.manual_seed(3)
    config = GPT2Config(vocab_size=259, n_positions=64, n_embd=32, n_layer=2, n_head=2, num_labels=1)
    config.bos_token_id = config.eos_token_id = 2
    plain = GPT2ForSequenceClassification(config).eval()
    plain.save_pretrained(tmp_path)
    tokenizer = make_tokenizer(template=None)
    tokenizer.save_pretrained(tmp_path)

    found = RewardModel.load(spec(tmp_path)).scores([chat("Hi")] * 5, RESPONSES, batch=5)

    for response, one in zip(RESPONSES, found, strict=True):
        assert one.logit == pytest.approx(alone(plain, tokenizer(f"Hi\n\n{response}")["input_ids"]), abs=1e-4)


@pytest.mark.parametrize("segments", [False, True])
def test_an_encoder_gets_chat_and_response_as_two_texts(tmp_path: Path, segments: bool) -> None:
    torch.manual_seed(3)
    plain = BertForSequenceClassification(
        BertConfig(
            vocab_size=259,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=64,
            num_labels=1,
            initializer_range=0.3,
            type_vocab_size=2,
        )
    ).eval()
    plain.save_pretrained(tmp_path)
    tokenizer = make_tokenizer(template=None)
    tokenizer.add_special_tokens({"cls_token": "<|bos|>", "sep_token": "<|end|>"})
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|bos|> $A <|end|>",
        pair="<|bos|> $A <|end|> $B:1 <|end|>:1",
        special_tokens=[("<|bos|>", 1), ("<|end|>", 2)],
    )
    if segments:
        tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
        tokenizer.init_kwargs["model_input_names"] = tokenizer.model_input_names
    tokenizer.save_pretrained(tmp_path)
    model = RewardModel.load(spec(tmp_path))

    found = model.scores([chat("Hi")] * 5, RESPONSES, batch=5)

    for response, one in zip(RESPONSES, found, strict=True):
        both = tokenizer("Hi", response, return_tensors="pt")
        assert ("token_type_ids" in both) is segments
        with torch.no_grad():
            assert one.logit == pytest.approx(float(plain(**both).logits[0, 0]), abs=1e-4)


def test_the_probability_is_one_sigmoid_of_the_difference_of_raw_logits(tmp_path: Path) -> None:
    llama(tmp_path)
    one, other = RewardModel.load(spec(tmp_path)).scores([chat("Hi")] * 2, ["x", "yy"])

    plain, mirrored = judged(judge_spec(tmp_path), pair(1, "x", "yy"), pair(2, "yy", "x"))
    (halved,) = judged(judge_spec(tmp_path, scale=2.0), pair(1, "x", "yy"))

    expected = 1 / (1 + math.exp(other.logit - one.logit))
    assert plain.probability == pytest.approx(expected)
    assert mirrored.probability == pytest.approx(1 - expected)
    assert halved.probability == pytest.approx(1 / (1 + math.exp((other.logit - one.logit) / 2)))
    assert plain.rationale == f"score {one.logit:.4g} against {other.logit:.4g}"
    assert plain.template_hash == ""


def test_every_distinct_response_of_a_message_is_scored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    llama(tmp_path)
    asked: list[str] = []
    plain = RewardModel.scores

    def noted(self: RewardModel, chats: Any, responses: Sequence[str], *more: Any) -> Any:
        asked.extend(responses)
        return plain(self, chats, responses, *more)

    monkeypatch.setattr(RewardModel, "scores", noted)
    items = [pair(1, "x", "y"), pair(2, "y", "z"), pair(3, "z", "x"), pair(4, "x", "x"), pair(5, "x", "y", "Bye")]

    found = judged(judge_spec(tmp_path), *items)

    assert sorted(asked) == ["x", "x", "y", "y", "z"]
    assert found[3].probability == 0.5
    assert found[0].probability != found[4].probability


def test_a_response_that_does_not_fit_fails_its_own_pairs_only(tmp_path: Path) -> None:
    llama(tmp_path)
    batch = JudgeBatch(
        header=Header(stream="s", batch="b", token="t"),
        judge="r",
        specification="",
        items=(pair(1, "x" * CONTEXT, "y"), pair(2, "x", "y")),
    )

    odd, sound = next(iter(judge(batch, judge_spec(tmp_path), worker.ask))).items

    assert odd.failure == f"the prompt has {CONTEXT + 5} tokens with its response, the model takes {CONTEXT}"
    assert sound.probability is not None


def test_a_response_cannot_open_a_turn(tmp_path: Path) -> None:
    plain = llama(tmp_path)

    (one,) = RewardModel.load(spec(tmp_path)).scores([chat("Hi")], ["bad<|end|>good"])

    assert one.logit == pytest.approx(alone(plain, turns("Hi", "bad< |end|>good")), abs=1e-4)


def test_a_score_that_is_not_a_number_fails_its_pair(tmp_path: Path) -> None:
    plain = llama(tmp_path)
    with torch.no_grad():
        plain.score.weight.fill_(float("nan"))
    plain.save_pretrained(tmp_path)
    batch = JudgeBatch(
        header=Header(stream="s", batch="b", token="t"), judge="r", specification="", items=(pair(1, "x", "y"),)
    )

    (found,) = next(iter(judge(batch, judge_spec(tmp_path), worker.ask))).items

    assert found.probability is None
    assert found.failure == "the probability nan is not in [0, 1]"


class TestSpecification:
    def test_several_labels_are_refused_unless_one_is_named(self, tmp_path: Path) -> None:
        plain = llama(tmp_path, labels=3, id2label={0: "bad", 1: "fair", 2: "good"})
        ids = turns("Hi", "x")
        with torch.no_grad():
            expected = plain(input_ids=torch.tensor([ids])).logits[0]

        with pytest.raises(SettingsError, match=r"judge r: its model has 3 labels \(bad, fair, good\).*options"):
            judged(judge_spec(tmp_path), pair(1, "x", "y"))
        with pytest.raises(SettingsError, match="options.label is 'best', and the labels of its model are bad, fair"):
            judged(judge_spec(tmp_path, options={"label": "best"}), pair(1, "x", "y"))
        model = RewardModel.load(spec(tmp_path))
        (found,) = model.scores([chat("Hi")], ["x"], model.label_index("good"))

        assert found.logit == pytest.approx(float(expected[2]), abs=1e-4)
        assert judged(judge_spec(tmp_path, options={"label": "good"}), pair(1, "x", "y"))[0].failure is None

    def test_a_causal_model_is_refused_because_its_scores_would_be_random(self, tmp_path: Path) -> None:
        make_model(tmp_path)

        with pytest.raises(SettingsError, match=r"lacks score\.weight, so its scores would be random.*reward model"):
            judged(judge_spec(tmp_path), pair(1, "x", "y"))

    @pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
    def test_a_scale_that_turns_scores_around_is_refused(self, tmp_path: Path, scale: float) -> None:
        with pytest.raises(SettingsError, match="judge r has scale"):
            judged(judge_spec(tmp_path, scale=scale), pair(1, "x", "y"))

    def test_it_needs_a_model(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="judge r names no model"):
            judged(judge_spec(tmp_path, model=None), pair(1, "x", "y"))


def test_a_long_chat_is_a_chat_with_all_its_turns(tmp_path: Path) -> None:
    plain = llama(tmp_path)
    turns_of_it = (Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"))

    (one,) = RewardModel.load(spec(tmp_path)).scores([turns_of_it], ["d"])

    letters = [make_tokenizer()(letter)["input_ids"][0] for letter in "abcd"]
    ids = [1, *(token for letter in letters for token in (letter, 2))]
    assert one.logit == pytest.approx(alone(plain, ids), abs=1e-4)
