"""The options of a local model."""

from __future__ import annotations

import pytest

from karma.config.local_models import check_local, stops_of
from karma.errors import SettingsError
from karma.messages import ModelSpec


def spec(**more: object) -> ModelSpec:
    return ModelSpec(name="m", backend="transformers", model="m", **more)  # type: ignore[arg-type]


def test_a_stop_is_a_text_or_a_list_of_them() -> None:
    assert stops_of(spec()) == ()
    assert stops_of(spec(options={"stop": "\n"})) == ("\n",)
    assert stops_of(spec(options={"stop": ["\n", "END"]})) == ("\n", "END")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"options": {"stop": 3}}, "options.stop is 3, expected a text or a list"),
        ({"options": {"stop": [""]}}, "expected a text or a list"),
        ({"options": {"top_k": 3}}, "options has 'top_k'; a local model knows stop"),
        ({"batch_tokens": 0}, "batch_tokens is 0, expected a number from 1"),
    ],
)
def test_what_a_local_model_would_ignore_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        check_local(spec(**fields))
