"""`number` reads numbers as they are written, compares them exactly, and never decides by a doubtful reading."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.checkers.number import number


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("**42**", "42"),
        ("It is 42.", "42"),
        ("٤٢", "42"),
        ("４２", "42"),
        ("٣٫٥", "3.5"),
        (".5", "0.5"),
        ("-.5", "-0.5"),
        ("0.5", ".5"),
        ("10 000", "10000"),
        ("10\u202f000", "10000"),
        ("10\u00a0000", "10000"),
        ("10'000", "10000"),
        ("10{,}000", "10000"),
        ("$10\\,000$", "10000"),
        ("1,234,567.5", "1234567.5"),
        ("12,34,567", "1234567"),
        ("50%", "0.5"),
        ("50\\%", "0.5"),
        ("50%", "50"),
        ("0.5", "50%"),
        ("50 percent", "0.5"),
        ("3/4", "0.75"),
        ("0.75", "3/4"),
        ("$\\frac{3}{4}$", "0.75"),
        ("-\\dfrac{3}{4}", "-0.75"),
        ("\\frac34", "3/4"),
        ("1 3/4", "1.75"),
        ("1½", "1.5"),
        ("¾", "0.75"),
        ("3 × 10^8", "3e8"),
        ("$3 \\times 10^{8}$", "3e8"),
        ("3·10⁸", "300000000"),
        ("1.6 × 10^{-19}", "1.6e-19"),
        ("3 million", "3000000"),
        ("1" * 400, "1" * 400),
        ("9" * 5000, "9" * 5000),
        ("1e3", "1000"),
        ("–3", "-3"),
        ("-$1,000", "-1000"),
        ("$42", "$42"),
        ("\\boxed{42}", "42"),
        ("42 (see step 3)", "42"),
        ("42\n\n1. Add\n2. Check", "42"),
        ("42 m^2", "42"),
        ("42 [1]", "42"),
        ("42</s>", "42"),
        ("<think>41? 43?</think>42", "42"),
        ("答案是42", "42"),
        ("Answer: 42", "42"),
        ("(42)", "42"),
        ("0.3333333333333", "1/3"),
    ],
)
def test_an_equal_number_is_right(text: str, reference: str) -> None:
    assert number(text, reference) is True


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("3,5", "3.5"),
        ("1.234,5", "1234.5"),
        ("1.234", "1234"),
        ("1,234", "1.234"),
        ("2²", "4"),
        ("2^10", "1024"),
        ("10k", "10000"),
        ("√16", "4"),
        ("\\sqrt{16}", "4"),
        ("2\\pi", "6.283185307"),
        ("12:30", "30"),
        ("H2O", "2"),
        ("forty-two", "42"),
        ("One.", "1"),
        ("42 (see step 3)", "3"),
        ("Answer: 42\nI checked 3 times", "42"),
        ("x = - 3", "-3"),
    ],
)
def test_a_number_that_may_be_equal_is_never_wrong(text: str, reference: str) -> None:
    assert number(text, reference) is None


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("", "42"),
        ("none", "42"),
        ("<think>42", "42"),
        ("0", "1.6e-19"),
        ("9.1e-31", "1.6e-19"),
        ("1" * 399 + "2", "1" * 400),
        ("12345678901", "12345678902"),
        ("3,5", "7"),
        ("1e999999999", "1"),
        ("42", "43"),
        ("40 + 2 = 42, and less 1 is 41", "42"),
        ("-42", "42"),
        ("1/3", "0.33"),
    ],
)
def test_another_number_or_none_is_wrong(text: str, reference: str) -> None:
    assert number(text, reference) is False


@pytest.mark.parametrize("reference", ["", "four", "42 apples", "3,5", "1 or 2", "x42", "1" * 40_000, "2^10"])
def test_a_reference_that_is_no_certain_number_is_refused(reference: str) -> None:
    with pytest.raises(ValueError, match="number"):
        number("42", reference)


@given(st.integers(), st.integers(min_value=-3, max_value=3))
def test_integers_are_compared_exactly(value: int, more: int) -> None:
    assert number(f"so it is {value}", str(value + more)) is (more == 0)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6))
def test_a_decimal_equals_itself(value: object) -> None:
    assert number(f"It is {value:f}.", f"{value:f}") is True


@given(st.text(alphabet="0123456789.,-/%^ eE\\frac{}()[]\n½²kπ"))
def test_no_text_raises(text: str) -> None:
    assert number(text, "42") in (True, False, None)


HOSTILE = ["1", "1,", "1 ", "1/", "½", "²", "1^", "\\frac{1}", "(", "1%", "1e9 ", "\\frac11", " ", "٤"]
HOSTILE += [
    "1-",
    "1-1-1 ",
    "1 to ",
    "between 1 and ",
    "x + 1",
    "1 + ",
    "5万",
    "minus 1 ",
    "3!",
    "|-5",
    "四",
    "1:1",
    "a third ",
]


@pytest.mark.parametrize("part", HOSTILE)
def test_hostile_texts_cost_little(part: str) -> None:
    started = time.process_time()
    number(part * (200_000 // len(part)), "42")
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("\\boxed{42\\text{ cm}^2}", "42"),
        ("The area is $42\\,\\mathrm{cm}^2$.", "42"),
        ("Answer: $9.8\\ \\text{m/s}^2$", "9.8"),
        ("$6.02 \\times 10^{23} \\text{ mol}^{-1}$", "6.02e23"),
        ("1 \\frac{3}{4}", "1.75"),
        ("1 \u00bd cups", "1.5"),
        ("1.5 \u22c5 10^3", "1500"),
        ("42", "\u20ac42"),
        ("42", "\\(42\\)"),
        ("42", "(42)"),
    ],
)
def test_units_mixed_numbers_and_dressed_references_are_read(text: str, reference: str) -> None:
    assert number(text, reference) is True


DOUBTFUL = {
    "10-12": ["10", "12"],
    "10–12": ["10", "12"],
    "10 - 12": ["12"],
    "10 to 12": ["10", "12"],
    "between 10 and 12": ["12"],
    "2024-05-12": ["5", "12"],
    "2024-12-05": ["5", "12"],
    "12/05/2024": ["12", "5", "2024"],
    "4 out of 10": ["4", "10"],
    "4 of the 10": ["4", "10"],
    "y = 3x + 4": ["3", "4"],
    "y = 3x - 4": ["4", "-4"],
    "x-4": ["4"],
    "42 + x": ["42"],
    "2 + 3": ["3", "5"],
    "3:4": ["3", "4", "0.75"],
    "3 : 4": ["4"],
    "3 ÷ 4": ["4", "0.75"],
    "3 \\div 4": ["4"],
    "2\\pi": ["2"],
    "π": ["3.14159"],
    "42 ± 1": ["42"],
    "42 \\pm 1": ["1"],
    "3!": ["6"],
    "|−5|": ["5", "-5"],
    "minus 5": ["5", "-5"],
    "negative 5": ["5", "-5"],
    "10 minus 5": ["5"],
    "2 to the power of 5": ["5", "32"],
    "6 divided by 3": ["3", "2"],
    "5 squared": ["5", "25"],
    "1/2 of 10": ["10", "5"],
    "50% of the 10": ["10", "5"],
    "It is not 42.": ["42"],
    "It is 42.\nConfidence: 95%": ["95"],
    "x ≠ 42": ["42"],
    "one third": ["1/3"],
    "a quarter": ["0.25"],
    "2 dozen": ["2", "24"],
    "5万": ["5", "50000"],
    "5 억": ["500000000"],
    "答案是四十二": ["42"],
    "五": ["5"],
    "The answer is 42. It took 3 steps.": ["42", "3"],
    "Answer: 42. It took 3 steps.": ["42", "3"],
    "Answer: 42\nConfidence in answer: 95": ["42", "95"],
}


@pytest.mark.parametrize(("text", "reference"), [(text, each) for text, them in DOUBTFUL.items() for each in them])
def test_a_part_of_a_range_a_date_or_a_formula_never_decides(text: str, reference: str) -> None:
    assert number(text, reference) is None


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("x^2 + 4 = 20, so x = 4", "4"),
        ("40 + 2 = 42", "42"),
        ("- 42", "42"),
        ("Total: 40 + 2\n- 42", "42"),
        ("It is 42!", "42"),
        ("Plan of 2024-05-12: 42", "42"),
        ("1 lakh", "100000"),
        ("| 40 | 42 |", "42"),
        ("Problem 1: 42", "42"),
        ("It is 42.\n\n**Confidence:** 95%", "42"),
        ("Confidence level: 95%", "95%"),
    ],
)
def test_a_number_beside_an_operation_or_a_date_is_read(text: str, reference: str) -> None:
    assert number(text, reference) is True


@pytest.mark.parametrize("text", ["10-12", "4 out of 10", "minus 5", "5万", "2024-05-12"])
def test_a_doubtful_number_that_is_another_by_every_reading_is_wrong(text: str) -> None:
    assert number(text, "7") is False
