"""Reasoning is separated from the answer, and a tag that an answer is about stays in it."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.llm.reasoning import ends_in_reasoning, is_reasoning_tag, split_reasoning, to_the_answer


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
        ("<unused94>thought\nA draft.<unused95>An answer.", "An answer.", "A draft.", False),
        ("<longcat_think>A draft.</longcat_think>\nAn answer.", "An answer.", "A draft.", False),
        ("\u200b<think>A draft.</think>An answer.", "An answer.", "A draft.", False),
        (
            "Here is my thought process:\nA draft.\n\nHere's my response:\nAn answer.",
            *("An answer.", "A draft.", False),
        ),
        ("Here is my thought process: it is short.", "Here is my thought process: it is short.", None, False),
        (
            "Here are my reasoning steps:\nA draft.\n[BEGIN FINAL RESPONSE]\nAn answer.\n[END FINAL RESPONSE]\n<|end|>",
            *("An answer.", "A draft.", False),
        ),
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


FINAL = "<|start|>assistant<|channel|>final<|message|>An answer.<|return|>"


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        (f"<|channel|>commentary to=functions.x<|message|>{{}}<|call|>{FINAL}", "An answer.", "{}"),
        (f"<|start|>assistant to=functions.x<|channel|>commentary<|message|>{{}}<|call|>{FINAL}", "An answer.", "{}"),
        (f"A draft.<|end|>{FINAL}", "An answer.", "A draft."),
        (f"analysis<|message|>A draft.<|end|>{FINAL}", "An answer.", "A draft."),
        (f"assistant<|channel|>analysis<|message|>A draft.<|end|>{FINAL}", "An answer.", "A draft."),
        ("<|channel|>analysis<|message|>A draft.<|end|><|start|>assistant<|message|>Yes.", "Yes.", "A draft."),
        ("<|channel|>analysis<|message|>A draft.<|end|>Yes.", "Yes.", "A draft."),
        (f"<|channel|>final<|message|>One.<|end|>{FINAL}", "An answer.", "One."),
        ("<|channel|>final<|message|>Close with <|end|> or <|start|> it.", "Close with <|end|> or <|start|> it.", None),
        (f"\ufeff\n<|channel|>analysis<|message|>A draft.<|end|>{FINAL}", "An answer.", "A draft."),
        ("analysisWe need a draft.assistantfinalAn answer.", "An answer.", "We need a draft."),
    ],
)
def test_the_last_final_channel_is_the_answer(text: str, answer: str, reasoning: str | None) -> None:
    assert split_reasoning(text) == (answer, reasoning, False)


@pytest.mark.parametrize(
    "cut",
    [
        "<|channel|>",
        "<|channel|>analysis",
        "<|channel|>commentary to=functions.x",
        "<|channel|>analysis<|mess",
        "<|start|>assistant<|chan",
        *(FINAL[:end] for end in range(9, FINAL.index("An answer.") + 1)),
    ],
)
def test_a_text_that_ends_in_a_header_has_no_answer(cut: str) -> None:
    assert split_reasoning(f"<|channel|>analysis<|message|>A draft.<|end|>{cut}")[0] == ""
    if cut.startswith("<|channel|>"):
        assert split_reasoning(cut) == ("", None, True)


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        *((f"<{name}>", f"</{name}>") for name in ("think", "thinking", "thought", "reasoning", "reflection")),
        *(("<seed:think>", "</seed:think>"), ("< think >", "< / think>"), ("[THINK]", "[/THINK]")),
        *(("◁think▷", "◁/think▷"), ("<|channel>thought\n", "<channel|>")),
        *(("<|START_THINKING|>", "<|END_THINKING|>"), ("<|begin_of_thought|>", "<|end_of_thought|>")),
    ],
)
def test_every_pair_of_tags_is_known_everywhere(opening: str, closing: str) -> None:
    assert split_reasoning(f"{opening}A draft.{closing}\n\nYes.") == ("Yes.", "A draft.", False)
    assert split_reasoning(f"A draft.{closing}\n\nYes.") == ("Yes.", "A draft.", False)
    assert split_reasoning(f"{opening}A dra") == ("", "A dra", True)
    assert ends_in_reasoning(f"<|assistant|>{opening}") == opening.strip()
    assert is_reasoning_tag(closing)
    assert is_reasoning_tag(opening.strip().removesuffix("thought"))


@pytest.mark.parametrize(
    "before",
    [
        *("\ufeff", "<s>", "\n \n", "<|im_start|>assistant\n", "<bos>", "<start_of_turn>model\n", "assistant\n\n"),
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<｜Assistant｜>",
    ],
)
def test_reasoning_may_stand_after_the_tokens_that_begin_a_turn(before: str) -> None:
    assert split_reasoning(f"{before}<think>A draft.</think>Yes.") == ("Yes.", "A draft.", False)
    assert split_reasoning(f"{before}Yes.") == (f"{before}Yes.", None, False)


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        ("<|START_THINKING|>A.<|END_THINKING|><|START_RESPONSE|>Yes.<|END_RESPONSE|>", "Yes.", "A."),
        ("<|START_RESPONSE|>Yes.", "Yes.", None),
        ("<think>End with `</think>`, then.\n</think>\nYes.", "Yes.", "End with `</think>`, then."),
        ("<think>It is `</think>`", "`", "It is `"),
        ("So:\n```py\nx\n</think>\n\n```py\ny\n```", "```py\ny\n```", "So:\n```py\nx"),
    ],
)
def test_marks_around_an_answer_are_left_out(text: str, answer: str, reasoning: str | None) -> None:
    assert split_reasoning(text) == (answer, reasoning, False)


@pytest.mark.parametrize(
    "text",
    [
        "The tag that ends it is </think>",
        "The tag that ends it is </think>.",
        "Close it with </think>, then go on.",
        "Use </think> to end it.",
        "So:\n```\nA draft.\n</think>\nYes.\n```\nThat is all.",
        "So `a </think> b` ends it.",
        "Write `<|end|><|start|>assistant<|channel|>final<|message|>` before it.",
        "In its format:\n<|start|>assistant<|channel|>final<|message|>Hi<|return|>",
        "analysis of the case",
    ],
)
def test_an_answer_about_tags_in_code_or_in_a_sentence_is_left_alone(text: str) -> None:
    assert split_reasoning(text) == (text, None, False)


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "a", " ", "\n", "`", "```", *FINAL.replace("<", " <").split()]))
)
def test_no_text_raises(parts: list[str]) -> None:
    split_reasoning("".join(parts))


HOSTILE = ["<think>", "</think>", "`", "```\n", "\n", " ", "a </think>", "<|channel|>", "<|end|>", "<|message|>", "<s>"]
HOSTILE += [
    "<|start|>assistant",
    "<|channel|>final<|message|>",
    "analysis",
    "assistantfinal",
    "<|START_RESPONSE|>",
    "< ",
]


@pytest.mark.parametrize(("one", "other"), [*zip(HOSTILE, HOSTILE, strict=True), *itertools.pairwise(HOSTILE)])
def test_hostile_texts_cost_little(one: str, other: str) -> None:
    started = time.process_time()
    split_reasoning((one + other) * (100_000 // len(one + other)))
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("prompt", "more"),
    [
        ("<|im_start|>assistant\n", ""),
        ("<|im_start|>assistant\n<think>\n", "\n</think>\n\n"),
        ("<|im_start|>assistant\n<think>", "\n\n</think>\n\n"),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", ""),
        ("[/INST][THINK]", "\n\n[/THINK]\n\n"),
        ("<|end|><|start|>assistant", "<|channel|>final<|message|>"),
    ],
)
def test_an_answer_without_reasoning_follows_an_empty_block(prompt: str, more: str) -> None:
    assert to_the_answer(prompt) == more
