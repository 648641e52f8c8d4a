"""Matching's JSON is what `json` reads and writes."""

import json
import math

import numpy as np

from karma_matching.stored_json import contents, features_of, reasons_json


def test_reasons_are_written_with_the_spaces_that_queries_look_for() -> None:
    reasons = {"policy": "kin", "why": "μ − 2σ", "sure": True, "gap": 1e-7, "kinship": None, "contrast": (0.5, 1.0)}

    written = reasons_json(reasons)

    assert '"sure": true' in written
    assert json.loads(written) == reasons | {"contrast": [0.5, 1.0]}


def test_numbers_of_numpy_are_written_as_numbers() -> None:
    assert json.loads(reasons_json({"probability": np.float64(0.25)})) == {"probability": 0.25}


def test_features_that_only_python_can_read_are_read() -> None:
    found = features_of(1, '{"words": "3", "lines": NaN, "characters": 12}')

    assert (found["words"], found["characters"]) == (3.0, 12.0)
    assert math.isnan(found["lines"])


def test_a_chat_has_the_texts_of_its_turns() -> None:
    assert contents(json.dumps([{"role": "user", "content": "é"}, {"role": "assistant", "content": ""}])) == ["é", ""]
