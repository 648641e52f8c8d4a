"""`answer` reads answers in sentences, tags, JSON and many languages, and is never wrong about a doubtful one."""

from __future__ import annotations

import time

import pytest

from karma.checkers.answer import answer

RIGHT = [
    "The answer is:\n\n{}",
    "**The answer is {}.**",
    "Answer: The answer is {}.",
    "Final Answer: The final answer is ${}$. I hope it is correct.",
    "\\boxed{{{}}}. The box \\boxed{{",
    "So \\boxed{{{}}}. The box \\boxed{{41",
    "So \\boxed{{{}}}, to be put into \\boxed{{}}.",
    "<b>Answer:</b> {}",
    "<b>Answer</b>: {}",
    "<p><strong>Answer:</strong> {}</p>",
    "<h3>Answer</h3>\n<p>{}</p>",
    "Answer: {}<br>",
    "Answer: {}<br/>\n",
    "So it is.\n<answer>{}",
    "<answer><answer>{}</answer></answer>",
    "<answer><b>{}</b></answer>",
    "<answer>\n{}\n</answer>",
    "<answer>\nAnswer: {}\n</answer>",
    "<final_answer>{}</final_answer>",
    "\\boxed{{\\displaystyle {}}}",
    "Answer: $\\bm{{{}}}$",
    "Answer: $\\mathbf{{{}}}$",
    '{{"answer": "{}", "confidence": 0.9}}',
    '{{"final_answer": "{}"}}',
    '{{"reasoning": "Answer: 41, or \\\\boxed{{41}}", "answer": "{}", "more": ["Answer: 40"]}}',
    '```json\n{{\n  "answer": "{}",\n  "confidence": 0.9\n}}\n```\nI hope that this helps.',
    "## 3. Answer\n\n{}",
    "### ✅ Final Answer\n{}",
    "### ✅ Final Answer\n\n**{}**",
    "## Step 4: Final Answer\n{}",
    "So the final answer: {}",
    "答案：{}",
    "答え：{}",
    "Antwort: {}",
    "**Réponse :** {}",
    "Respuesta: {}",
    "Ответ: {}",
    "정답: {}",
    "الإجابة: {}",
    "उत्तर: {}",
    "Answer: {}<EOT>",
    "Answer: {}[EOS]",
    "Answer: {}<unk>",
    "Answer: {}<eos><pad><pad>",
    "Answer: {} <EOT>\n",
    "Answer: {}<|EOT|>",
]


@pytest.mark.parametrize("form", RIGHT)
def test_an_answer_is_read_in_every_form(form: str) -> None:
    assert answer(form.format("42"), "42") is True
    assert answer(form.format("1 000 apples"), "1 000 apples") is True
    assert answer(form.format("41"), "42") is False


@pytest.mark.parametrize(
    "text", ['{"answer": 42, "confidence": 0.9}', '```json\n{"answer": 42}\n```', '{"Answer": 42}']
)
def test_a_number_in_an_object_is_read_as_it_is_written(text: str) -> None:
    assert answer(text, "42") is True
    assert answer(text, "42.0") is False


@pytest.mark.parametrize(
    "text",
    [
        "the answer to the question is 42",
        "the answer would be 42",
        "the answer comes out to 42",
        "Answer: 42\n**Confidence in answer:** high",
        "Answer: 42\nExplanation of the answer: because it is so",
        "Answer: 42\nHow I got the answer: I multiplied",
        "The answer is 42.\nConfidence in answer: high",
        "Answer: $x = 42$",
        "Answer: x = 42",
        "Answer: It is 42.",
        "Answer: 42. I am sure.",
        "Answer: 42 (see above)",
        "Answer: 42, as was shown",
        "Answer: There are 42 apples in total.",
        "Answer: ~~42~~",
        "Answer:\nWe add 40 and 2.\nSo it is 42.",
        "## Answer\n\nLet me explain. It is 42.",
        "Answer:\n1. Add 40 and 2.\n2. It is 42.",
        "\\boxed 42",
        '{"answer": ["42"]}',
        '{"answer": "41", "answer": "42"}',
        "{'answer': '42', 'confidence': 0.9}",
        "Answer (in cm): 42",
        "**Answer (in cm):** 42",
        "Answer (cm) = 42",
        "Réponse finale : 42",
        "最终答案：42",
        "La respuesta es 42.",
        "答案是42。",
        "Result: 42",
        "#### 42\nI hope this helps.",
        "Answer: 41\n<answer>42</answer>",
        "\\boxed{41}, so <answer>42</answer>",
    ],
)
def test_a_right_answer_in_a_doubtful_form_is_unknown(text: str) -> None:
    assert answer(text, "42") is None


@pytest.mark.parametrize(
    "text", ["The answer is: 41. No, the answer is 42.", "Answer: The answer is 41. No, the answer is 42."]
)
def test_the_last_of_several_sentences_on_a_line_counts(text: str) -> None:
    assert answer(text, "42") is True
    assert answer(text, "41") is not True


def test_an_answer_without_the_name_that_the_reference_gives_it_is_unknown() -> None:
    assert answer("Answer: 42", "x = 42") is None
    assert answer("Answer: 41", "x = 42") is False


def test_the_number_of_a_step_is_no_answer() -> None:
    assert answer("Answer:\n1. Add 40 and 2.\n2. It is 42.", "1") is not True


@pytest.mark.parametrize("text", ["B) Paris", "(B) Paris", "(B)", "B)", "B: Paris", "B. Paris, in France"])
def test_the_letter_of_a_choice_is_read(text: str) -> None:
    assert answer(f"Answer: {text}", "B") is True
    assert answer(f"**Answer: {text}**", "B") is True
    assert answer(f"Answer: {text}", "C") is False


@pytest.mark.parametrize(
    "text", ["Option B", "B) or C)", "(B) is wrong", "B) isn't it", "B) Paris, not C", "B: 3, A: 4", "B) Paris?", "(B"]
)
def test_a_letter_that_may_be_no_choice_is_unknown(text: str) -> None:
    assert answer(f"Answer: {text}", "B") is None


@pytest.mark.parametrize(
    "text",
    [
        "Confidence in answer: high",
        "I do not know the answer.",
        "The wrong answer: 41",
        "Answer: 142",
        "Answer: 3.42",
        "Answer: -42",
        "Answer: 42.5",
        "Answer: 42,000",
        "The answer is 142, or so they say",
    ],
)
def test_an_answer_that_has_the_reference_nowhere_is_never_right(text: str) -> None:
    assert answer(text, "42") is not True
    assert answer(text, "I do not") is not True


MARKS = ["*", "#", "?", "[]", "[", "**", "_", "`", '"', "$", "-", "---", "()", "|", "<s>", "</s>", "[EOS]", "$$", "..."]
LINES = ["a\nb", "- a\n- b", "def f():\n    return 1", '{"answer": 1}', "Answer: 1"]


@pytest.mark.parametrize(
    "form", ["Answer: {}", "Answer:\n{}", "Answer: `{}`", "Answer: **{}**", "Answer:\n```\n{}\n```"]
)
@pytest.mark.parametrize("reference", MARKS + LINES)
def test_a_reference_that_is_like_a_dress_or_has_many_lines_is_never_wrong(reference: str, form: str) -> None:
    assert answer(form.format(reference), reference) is not False
    assert answer(form.format("42"), reference) is not True


@pytest.mark.parametrize(
    "part",
    [
        *(
            "Confidence in answer: 1\n",
            "The answer is ",
            '{"answer": "',
            '{"',
            "<answer>",
            "\\boxed{1}",
            "\\boxed{",
            "<b>",
        ),
        *(
            "答案：",
            "antwort ",
            "## 3. Answer\n",
            "step 1: ",
            "(answer (",
            "answer (",
            "a",
            "42 ",
            "</p>",
            "[EOS]",
            "{",
            "}",
        ),
    ],
)
def test_hostile_texts_cost_little(part: str) -> None:
    started = time.process_time()
    answer(part * (200_000 // len(part)) + "x", part * (10_000 // len(part)) + "1")
    assert time.process_time() - started < 10
