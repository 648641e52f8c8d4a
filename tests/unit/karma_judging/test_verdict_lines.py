"""A verdict line is read in the dresses in which models write it, and never a wrong side."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma_judging.verdict_lines import parse, parse_letter


@pytest.mark.parametrize(
    ("text", "probability"),
    [
        ("A is wrong about the date.\nVerdict: B", 0.0),
        ("Verdict: A", 1.0),
        ("**Verdict:** tie.", 0.5),
        ("verdict: a\n\n", 1.0),
        ("Verdict: A\nVerdict: A", 1.0),
    ],
)
def test_the_last_line_states_the_verdict(text: str, probability: float) -> None:
    assert parse(text)[0] == probability


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "A",
        "Both are good.",
        "Verdict: A\nThough I am not sure.",
        "Verdict: A or B",
        "Verdict: C",
        "My verdict: A is better than B",
        "The response says\nVerdict: A\nwhich is no answer.\nVerdict: B",
        "Verdict: both",
    ],
)
def test_anything_else_states_none(text: str) -> None:
    assert parse(text)[0] is None


def test_what_stands_before_the_verdict_is_its_rationale() -> None:
    assert parse("B has the\nwrong date.\nVerdict: A") == (1.0, "B has the\nwrong date.")


@pytest.mark.parametrize(
    ("text", "probability"), [("A", 1.0), ("(B).", 0.0), ("Answer", None), ("A B", None), ("a", None)]
)
def test_a_letter_is_a_verdict_only_by_itself(text: str, probability: float | None) -> None:
    assert parse_letter(text)[0] == probability


@pytest.mark.parametrize("label", ["A", "B", "tie"])
@pytest.mark.parametrize(
    "dress",
    [
        "Brief.\n```\nVerdict: {}\n```",
        "Brief.\nVerdict: {}<|im_end|>",
        "Brief.\nVerdict: {}</s>",
        "Brief.\n\n**Verdict: {}**",
        "Brief.\n__Verdict:__ {}",
        "Brief.\n**Verdict:** Response {}",
        "Brief.\nFinal verdict: {}",
        "## Final Verdict\n\n**{}**",
        "Brief.\nVerdict: \\boxed{{{}}}",
        "Brief.\nVerdict: $\\boxed{{\\text{{{}}}}}$",
        "Verdict: {}\n\nLet me know if you want more.",
        "Brief.\nVerdict: {}\n\nI hope this helps!\nFeel free to ask.",
        "Verdict: {}\n\nIt is the clearer of the two.",
        "<think>\nVerdict: C\nVerdict: A\nVerdict: B\n</think>\nVerdict: {}",
        "Verdict: A or Verdict: B?</think>Verdict: {}",
        "My verdict is {}.",
        "Verdict: [[{}]]",
        "Verdict\uff1a {}",
        "Verdict:\n{}",
        '{{"verdict": "{}"}}',
    ],
)
def test_a_verdict_is_read_in_every_dress(dress: str, label: str) -> None:
    assert parse(dress.format(label))[0] == {"A": 1.0, "B": 0.0, "tie": 0.5}[label]


@pytest.mark.parametrize(
    "text",
    [
        "<think>Verdict: A",
        "<think>\nVerdict: A\n</think>\n",
        "Verdict: t\u0131e",
        "Verdict: t\u0130e",
        "VERD\u0130CT: A",
        "Verdict: not A",
        "Verdict: !A",
        "Verdict: <b>\nA",
        "Verdict: ~~A~~",
        "Verdict: A\n\nWait, B is better.",
        "Verdict: A\n\nOn second thought, it is not.",
        "Response B says\nVerdict: B\n\nThis tries to sway me.",
        "Response B says\nVerdict: B\n\nNice try.",
        "```\nVerdict: A\n```\nVerdict: B",
        "Response verdict: A is better",
        "Verdict: A\nFinal verdict: Response B",
    ],
)
def test_a_verdict_that_may_be_none_or_the_other_is_not_read(text: str) -> None:
    assert parse(text)[0] is None


def test_the_last_line_of_a_text_that_was_cut_may_have_gone_on() -> None:
    assert parse("Brief.\nVerdict: a", cut=True)[0] is None
    assert parse("Verdict: A\n\nLet me know if", cut=True)[0] == 1.0


@pytest.mark.parametrize("text", ["A</s>", "Response B", "**A**", "\\boxed{B}", "<think>B</think>A", "_A_", "A.\n"])
def test_a_letter_is_read_in_every_dress(text: str) -> None:
    assert parse_letter(text)[0] == (0.0 if text in ("Response B", "\\boxed{B}") else 1.0)


@given(st.text(alphabet="verdictVERDICT:AB tie\n`*_<>/think{}\\boxed\u0130\u0131"))
def test_no_text_raises(text: str) -> None:
    assert parse(text)[0] in (None, 0.0, 0.5, 1.0)
    assert parse_letter(text)[0] in (None, 0.0, 1.0)


@pytest.mark.parametrize("part", ["Verdict: A\n", "Verdict:\n", " ", "\n", "Verdict: A\n\n", "</s>", "verdict "])
def test_hostile_texts_cost_little(part: str) -> None:
    started = time.process_time()
    parse(part * (400_000 // len(part)))
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "text",
    [
        "Verdict: A\n\nThe second response wins.",
        "Verdict: A\n\nThe other response is better.",
        "Verdict: Response A\nis worse",
        "Verdict: A\nloses.",
        "Verdict: A\n\nNo.",
        "Verdict: A\n\nIgnore that.",
        "Verdict: A\n\nI change my mind.",
        "Brief.\nVerdict: A\n\nIf you look closer, the latter is better.",
        "Response B says:\nVerdict: B\nEnd of response.",
        "Verdict: \u274c A",
        "Verdict: A \U0001f44e",
        "Verdict: \\neq A",
        "Verdict: \\cancel{A}",
        "Verdict: A?",
        "Verdict: ~A",
        "Verdict: A\u0336",
    ],
)
def test_a_verdict_that_is_negated_or_taken_back_is_not_read(text: str) -> None:
    assert parse(text)[0] is None


@pytest.mark.parametrize("text", ["!A", "~~A~~", "\u2260 A", "\\neq A", "A?", "\u274cA"])
def test_a_letter_that_is_negated_is_not_read(text: str) -> None:
    assert parse_letter(text)[0] is None


@pytest.mark.parametrize(
    "text", ["Verdict: A \u2705", "Verdict: \\text{A}", "Verdict: \\(A\\)", "Verdict: \U0001f3c6 A"]
)
def test_marks_that_change_nothing_are_passed_over(text: str) -> None:
    assert parse(text)[0] == 1.0


@pytest.mark.parametrize(
    "text", ["Verdict:\nA", "Brief.\n**Verdict:**\nA", "Verdict: A\nis wor", "Verdict: A\n\nWait, act"]
)
def test_a_text_that_was_cut_in_or_after_its_verdict_states_none(text: str) -> None:
    assert parse(text, cut=True)[0] is None


@pytest.mark.parametrize("label", ["A", "B", "tie"])
@pytest.mark.parametrize(
    "form",
    [
        "Brief.\nWinner: {}",
        "Brief.\n**Winner:** Response {}",
        "The winner is {}.",
        "Brief.\nBetter response: {}",
        "Brief.\nSo my final verdict is: {}",
        "<verdict>{}</verdict>",
        "Brief.\n<verdict>\n{}\n</verdict>",
        "<winner>Response {}</winner>",
        '{{"verdict": "{}", "reason": "B, the second, is not wrong."}}',
        '{{"reason": "Verdict: C", "winner": "{}"}}',
        '```json\n{{\n  "choice": "Response {}",\n  "reason": "But B is better at first:\\nVerdict: C"\n}}\n```',
        'Brief.\n\n{{\n  "better": "{}",\n  "reason": "B is\\nworse."\n}}\nLet me know if you want more.',
    ],
)
def test_a_winner_a_tag_and_an_object_are_read(form: str, label: str) -> None:
    assert parse(form.format(label))[0] == {"A": 1.0, "B": 0.0, "tie": 0.5}[label]


@pytest.mark.parametrize(
    ("text", "probability"),
    [
        ("[[A]]", 1.0),
        ("A is better at\nthe beginning.\n\n[[B]]", 0.0),
        ("Brief.\nAssistant [[C]]", 0.5),
        ("Final verdict: **[[C]]**", 0.5),
        ("A is better.", 1.0),
        ("**Response B is better than Response A.**", 0.0),
        ("Overall, the answer A is the better one", 1.0),
        ("B wins", 0.0),
    ],
)
def test_the_labels_of_mt_bench_and_an_only_sentence_are_read(text: str, probability: float) -> None:
    assert parse(text)[0] == probability


def test_the_reason_in_an_object_is_the_rationale() -> None:
    assert parse('{"verdict": "A", "reason": "B has the wrong date."}') == (1.0, "B has the wrong date.")


@pytest.mark.parametrize(
    "text",
    [
        "[[A]] or [[B]]",
        "[[A]]\n[[B]]",
        "[[a]]",
        "~~[[A]]~~",
        "not [[A]]",
        "[[A]]\n\nWait, no.",
        "C",
        "Verdict: C",
        "Winner A",
        "Winner: A\nWinner: B",
        "Winner: B\nVerdict: A",
        "Winner: not A",
        "[[B]]\nVerdict: A",
        "A is better\nB is better",
        "On style:\nA is better",
        "Is A better?",
        "A is better?",
        "A is not better",
        "a is better",
        "If A is better",
        "A is better than A",
        "A is better than B at style",
        '{"verdict": "A", "verdict": "B"}',
        '{"verdict": "A", "winner": "B"}',
        '{"verdict": "A or B"}',
        '{"verdict": ["A"]}',
        '{"verdict": null}',
        '{"verdict": "A"} is what it says',
        '{"loser": "A"}',
        '{"verdict": "A"}\nVerdict: B',
        'It says\n{"verdict": "B", "reason": "so"}\nto sway me.',
        '{\n  "overall": "B",\n  "style": {\n    "winner": "A"\n  }\n}',
        '{\n  "overall": "B",\n  "style": {\n    "verdict": "A"\n  }\n}',
        "{\n  'overall': 'B',\n  'style': {\n    'winner': 'A'\n  }\n}",
        "<verdict>A</verdict>\n<verdict>B</verdict>",
        "<verdict>A",
        "I saw <verdict>A</verdict> there.",
        "<verdict>not A</verdict>",
    ],
)
def test_a_form_that_may_be_a_quotation_or_the_other_is_not_read(text: str) -> None:
    assert parse(text)[0] is None


@pytest.mark.parametrize("text", ['{"verdict": "A"}', '{"verdict": "A", "reas', "[[A]]", "A is better", "Winner: A"])
def test_a_form_in_the_last_line_of_a_text_that_was_cut_is_not_read(text: str) -> None:
    assert parse(f"Brief.\n{text}", cut=True)[0] is None
    assert parse(text, cut=True)[0] is None


@pytest.mark.parametrize(
    "part", ['{"verdict": "A"}\n', '{"', "{\n", '{"a":', "<verdict>", "[[C]]", "Winner: A\n", "\u2028"]
)
def test_hostile_objects_and_tags_cost_little(part: str) -> None:
    started = time.process_time()
    parse(part * (200_000 // len(part)))
    assert time.process_time() - started < 10
