"""Reasoning is separated from the answer, and a tag that an answer is about stays in it."""

from __future__ import annotations

import pytest

from karma.llm.reasoning import ends_in_reasoning, is_reasoning_tag, split_reasoning


@pytest.mark.parametrize(
    ("text", "answer", "reasoning", "is_open"),
    [
        ("Plain.", "Plain.", None, False),
        ("  Plain.\n", "  Plain.\n", None, False),
        ("<think>\nA draft.\n</think>\n\nAn answer.", "An answer.", "A draft.", False),
        ("\n<THINK>A draft.</think>An answer.\n", "An answer.\n", "A draft.", False),
        ("<think>\n\n</think>\n\nAn answer.", "An answer.", None, False),
        ("A draft.\n</think>\n\nAn answer.", "An answer.", "A draft.", False),
        ("<think>one</think>\n<thinking>two</thinking>An answer.", "An answer.", "one\n\ntwo", False),
        ("<think>a <think>b</think> c</think>An answer.", "An answer.", "a <think>b\n\nc", False),
        ("[THINK]A draft.[/THINK]An answer.", "An answer.", "A draft.", False),
        ("◁think▷A draft.◁/think▷An answer.", "An answer.", "A draft.", False),
        (
            "<|channel|>analysis<|message|>A draft.<|end|>"
            "<|start|>assistant<|channel|>final<|message|>An answer.<|return|>",
            *("An answer.", "A draft.", False),
        ),
        (
            "<|channel|>commentary to=functions.x <|constrain|>json<|message|>{}<|call|>"
            "<|start|>assistant<|channel|>final<|message|>An answer.",
            *("An answer.", "{}", False),
        ),
        ("<|channel|>final<|message|>An answer.", "An answer.", None, False),
        ("<|channel|>analysis<|message|>A dra", "", "A dra", True),
        ("<|channel|>analysis<|message|>A draft.<|end|>", "", "A draft.", True),
        ("<think>\nOkay, so I shoul", "", "Okay, so I shoul", True),
        ("<think>", "", None, True),
        ("<think>A draft.</think>", "", "A draft.", False),
        ("<think>one</think><think>two", "", "one\n\ntwo", True),
    ],
)
def test_an_answer_is_without_the_reasoning_before_it(
    text: str, answer: str, reasoning: str | None, is_open: bool
) -> None:
    assert split_reasoning(text) == (answer, reasoning, is_open)


@pytest.mark.parametrize(
    "text",
    [
        "Close it with `</think>`.",
        'The tag "</think>" ends it.',
        "Qwen writes <think>so</think> before its answer.",
        "`<think>` opens a block, and </think> closes it.",
        "<thinker>no tag of reasoning</thinker>",
        "Math: a<b, c>d.",
        "",
    ],
)
def test_an_answer_about_such_tags_is_left_alone(text: str) -> None:
    assert split_reasoning(text) == (text, None, False)


def test_a_closing_tag_in_the_answer_after_the_reasoning_stays() -> None:
    assert split_reasoning("<think>so</think>End with </think> then.")[0] == "End with </think> then."


def test_a_prompt_that_ends_with_an_opening_tag_is_noticed() -> None:
    assert ends_in_reasoning("<|assistant|><think>\n")
    assert not ends_in_reasoning("<|assistant|><think>\n\n</think>\n\n")
    assert not ends_in_reasoning("<|assistant|>")


def test_very_many_blocks_are_read() -> None:
    assert split_reasoning("<think></think>" * 60_000 + "Yes.") == ("Yes.", None, False)


def test_the_tokens_of_channels_are_tags_where_there_are_channels() -> None:
    assert is_reasoning_tag("<|end|>", ["<|channel|>", "<|end|>"])
    assert not is_reasoning_tag("<|end|>", ["<|end|>", "<|user|>"])
