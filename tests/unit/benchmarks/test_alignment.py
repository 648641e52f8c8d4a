"""Accuracy in the benchmarks of training."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from karma.checkers.answer import answer
from karma_demo.tasks import tasks
from tests.benchmarks import alignment

_UNCLEAR = "The answer is {} or 35."


def test_an_answer_that_cannot_be_read_is_not_right(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tasks("held_out", 4, 0)
    assert answer(_UNCLEAR.format(asked[1].reference), asked[1].reference) is None
    made = [f"Answer: {asked[0].reference}", _UNCLEAR.format(asked[1].reference), None, "no idea"]
    monkeypatch.setattr(alignment, "LocalModel", lambda *_arguments: None)
    monkeypatch.setattr(alignment, "texts", lambda *_arguments: made)
    model = SimpleNamespace(eval=lambda: None, device="cpu")
    assert alignment.accuracy(None, model, asked) == 0.25
