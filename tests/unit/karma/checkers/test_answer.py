"""`answer` reads an answer in the ways in which people and models write it, and nothing else as the answer."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.checkers.answer import answer

DRESSES = [
    "Answer: {}",
    "**Answer: {}**",
    "**Answer:** {}",
    "**Answer**: {}",
    "__Answer:__ {}",
    "_Answer: {}_",
    "***Answer:*** {}",
    "Answer: **{}**",
    "Answer - {}",
    "**Final answer** – {}",
    "So it is.\n#### {}",
    "Answer: {} ✅",
    "Answer: {}[/INST]",
    "**Answer:** **{}**.",
    "Answer: ${}$",
    "Answer: $${}$$",
    "Answer: \\({}\\)",
    "Answer: \\[{}\\]",
    "Answer: \\boxed{{{}}}",
    "Answer: $\\boxed{{{}}}$",
    "Answer: $\\boxed{{\\text{{{}}}}}$.",
    "Answer: The value is $\\boxed{{{}}}$",
    "So it is \\boxed{{{}}}",
    "Answer: `{}`",
    "Answer: ```{}```",
    "Answer:\n```text\n{}\n```",
    'Answer: "{}"',
    '"Answer: {}"',
    "Answer: “{}”",
    "Answer: '{}'",
    "Answer: «{}»",
    "(Answer: {})",
    "Answer：{}",
    "### Answer: {}",
    "### Answer\n{}",
    "## Final Answer\n\n**{}**",
    "- Answer: {}",
    "* **Answer:** {}",
    "1. Answer: {}",
    "> Answer: {}",
    "Answer:\n{}",
    "**Answer:**\n\n{}\n",
    "**Answer:\n{}**",
    "Answer:\r\n{}\r\n",
    "Answer:\n- {}",
    "Answer:\n$$\n{}\n$$",
    "Final Answer: {}",
    "**Final Answer: {}**",
    "The final answer: {}",
    "The answer is {}.",
    "The answer is: **{}**. I hope that this helps.",
    "<answer>{}</answer>",
    "Answer: <b>{}</b>",
    "Answer: {}.",
    "Answer: {}</s>",
    "Answer: {}<|im_end|>",
    "Answer: {} <|eot_id|>\n</s>",
    "Answer: {}<｜end▁of▁sentence｜>",
    "Answer: {}<end_of_turn>\n",
    "Answer: \u200b{}\ufeff",
    "<think>Answer: no</think>\nAnswer: {}",
    "The answer: no</think>\n\nAnswer: {}",
    "Answer: {}\n\nLet me know if you need more.",
]


@pytest.mark.parametrize("dress", DRESSES)
def test_a_right_answer_is_right_in_every_dress_and_a_wrong_one_wrong(dress: str) -> None:
    assert answer(dress.format("42"), "42") is True
    assert answer(dress.format("1 000 apples"), "1 000 apples") is True
    assert answer(dress.format("41"), "42") is False


@pytest.mark.parametrize(
    "text",
    [
        "",
        "42",
        "<think>Answer: 42",
        "<think>\nAnswer: 42\nBut wait",
        "Answer:",
        "Answer:\n\n",
        "**Answer:**",
        "unanswered: 42",
        "Answer: 42 apples",
        "Answer: 42\nAnswer: 41",
    ],
)
def test_a_text_without_the_answer_is_wrong(text: str) -> None:
    assert answer(text, "42") is False


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("Answer: (42)", "42"),
        ("Answer: 42!", "42"),
        ("Answer: ４２", "42"),
        ("Answer: 42", "**42**"),
        ("Answer: 42\nThat is \\boxed{41}", "42"),
        ("The answer is that there are 42 of them", "42"),
    ],
)
def test_an_answer_that_may_be_right_is_unknown(text: str, reference: str) -> None:
    assert answer(text, reference) is None


@pytest.mark.parametrize(
    ("text", "reference"), [("Answer: **a**", "**a**"), ("Answer: $x$", "x"), ("Answer: x", "$x$")]
)
def test_marks_that_a_reference_has_count_unless_they_are_those_of_latex(text: str, reference: str) -> None:
    assert answer(text, reference) is True


def test_an_answer_that_begins_beyond_what_is_read_is_unknown() -> None:
    assert answer("Answer: 42\n" + "x" * 200_000, "42") is None


HOSTILE = ["Answer:", "Answer:\n", "**", "\\boxed{", "{", " ", "</s>", "<answer>", "answer is ", "\n"]


@pytest.mark.parametrize("part", HOSTILE)
def test_hostile_texts_cost_little(part: str) -> None:
    started = time.process_time()
    answer(part * (200_000 // len(part)) + "x", "42")
    assert time.process_time() - started < 10


@given(st.text(alphabet="Answer:*_`$\\{}boxed 42\n<>/think\"'."), st.text(max_size=5))
def test_no_text_raises(text: str, reference: str) -> None:
    assert answer(text, reference) in (True, False, None)


def test_the_last_sentence_that_states_an_answer_counts_also_on_one_line() -> None:
    text = "The answer is 42. No, wait: the answer is 41."
    assert (answer(text, "41"), answer(text, "42")) == (True, False)
