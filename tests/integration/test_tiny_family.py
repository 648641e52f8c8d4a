"""The bundled checkpoints: they load without a network, stay small, and are as good as the card says."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import needs

needs.package("torch")
needs.package("transformers")

import torch  # noqa: E402

from karma_demo.family import CHECKPOINTS, JUDGE, JUDGE_MEMBER, MEMBERS, accuracy, checkpoint_path  # noqa: E402
from karma_demo.model_card import load, measure, respond  # noqa: E402 - only where torch is installed
from karma_demo.tasks import SKILLS, tasks  # noqa: E402

EVERYONE = [member.name for member in (*MEMBERS, JUDGE_MEMBER)]
LIMIT_BYTES = 5_000_000


@pytest.fixture(autouse=True)
def _one_thread_and_no_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", EVERYONE)
def test_every_member_loads_offline_and_responds(name: str) -> None:
    tokenizer, model = load(checkpoint_path(name))

    assert model.dtype == torch.float32
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id
    assert all(math.isfinite(parameter.abs().sum().item()) for parameter in model.parameters())
    assert len(respond(tokenizer, model, ["What is 12 + 34?", "Reverse the word karma"])) == 2


def test_the_chat_template_takes_system_turns_and_earlier_turns() -> None:
    tokenizer, _model = load(checkpoint_path(JUDGE))
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Reverse the word ab"},
        {"role": "assistant", "content": "Answer: ba"},
        {"role": "user", "content": "Reverse the word cd"},
    ]

    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)

    assert text == (
        "<|bos|><|system|>Be brief.<|user|>Reverse the word ab<|assistant|>Answer: ba<|end|>"
        "<|user|>Reverse the word cd<|assistant|>"
    )


@pytest.mark.parametrize("text", ["Answer: A-B-C", "  two  spaces", "Größe 字 😀", "line\nbreak"])
def test_the_tokenizer_gives_back_any_text(text: str) -> None:
    tokenizer, _model = load(checkpoint_path(JUDGE))

    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_the_folder_holds_the_members_and_nothing_else() -> None:
    assert sorted(path.name for path in CHECKPOINTS.iterdir()) == sorted(EVERYONE)


def test_all_checkpoints_together_are_under_5_mb() -> None:
    size_bytes = sum(path.stat().st_size for path in Path(CHECKPOINTS).rglob("*") if path.is_file())

    assert size_bytes < LIMIT_BYTES


def test_a_member_measured_again_is_within_four_standard_errors_of_the_card() -> None:
    name = "generalist-medium"
    asked = tasks("held_out", 100, seed=7)
    counts = {skill: sum(task.skill == skill for task in asked) for skill in SKILLS}

    measured, expected = measure(checkpoint_path(name), asked), accuracy()[name]

    variances = [expected[skill] * (1 - expected[skill]) / counts[skill] for skill in SKILLS]
    standard_error = math.sqrt(sum(variances)) / len(SKILLS)
    assert measured["mean"] == pytest.approx(expected["mean"], abs=4 * standard_error)


def test_the_card_covers_every_member_and_every_skill() -> None:
    assert {name: set(shares) for name, shares in accuracy().items()} == {name: {"mean", *SKILLS} for name in EVERYONE}


def test_the_pool_is_spread_from_weak_to_strong_and_the_judge_is_above_it() -> None:
    means = sorted(accuracy()[member.name]["mean"] for member in MEMBERS)

    assert means[0] < 0.25
    assert means[-1] > 0.7
    assert accuracy()[JUDGE]["mean"] > means[-1]


def test_the_judge_is_not_in_the_pool() -> None:
    assert JUDGE not in {member.name for member in MEMBERS}


def test_a_parent_comes_from_the_pool() -> None:
    names = {member.name for member in MEMBERS}

    assert {member.parent for member in MEMBERS if member.parent is not None} <= names


def test_an_unknown_member_is_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match="no member of the tiny family is called 'nobody'; known are generalist-large"):
        checkpoint_path("nobody")
