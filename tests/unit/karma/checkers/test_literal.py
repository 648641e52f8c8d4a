"""`exact` and `contains` ignore reasoning, and `exact` end-of-text tokens; nothing else."""

import pytest

from karma.checkers.contains import contains
from karma.checkers.exact import exact


@pytest.mark.parametrize("text", ["42</s>", "<think>or 41</think>\n42", "42<|im_end|>\n"])
def test_exact_ignores_reasoning_and_end_of_text_tokens(text: str) -> None:
    assert exact(text, "42") is True


@pytest.mark.parametrize("check", [exact, contains])
def test_an_answer_within_reasoning_is_none(check: object) -> None:
    assert check("<think>42", "42") is False  # type: ignore[operator]
    assert check("<think>42</think>41", "42") is False  # type: ignore[operator]


def test_a_text_about_reasoning_tags_can_be_exact() -> None:
    assert exact("<think>", "<think>") is True
