"""A checker affects the response that it is given, and no other one."""

from __future__ import annotations

import pytest

from karma_scoring.quality import quality_of


@pytest.mark.parametrize(("right", "quality"), [(True, 1.0), (False, 0.0), (None, None), (0.25, 0.25), (1, 1.0)])
def test_the_quality_is_the_checkers_result_and_unknown_where_it_cannot_tell(right: object, quality: object) -> None:
    assert quality_of(lambda _text, _reference: right, "c", "x", "y") == quality  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("returned", [float("nan"), 2, "yes", [], object()])
def test_a_value_that_is_no_quality_is_unknown_and_logged(returned: object, caplog: pytest.LogCaptureFixture) -> None:
    assert quality_of(lambda _text, _reference: returned, "c", "x", "y") is None  # type: ignore[arg-type,return-value]
    assert "the checker c" in caplog.text


def test_a_checker_that_raises_leaves_the_quality_unknown_and_logs_none_of_the_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def raising(text: str, _reference: str, /) -> bool:
        raise ValueError(text)

    assert quality_of(raising, "c", "a secret", "y") is None
    assert "the checker c failed on one response" in caplog.text
    assert "a secret" not in caplog.text
