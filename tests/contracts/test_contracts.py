"""Every version of every message that was ever sent must still be read. Files here are never deleted."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from karma.errors import MessageError
from karma.messages import Batch
from karma.messages.wire import decode, encode

FILES = sorted(Path(__file__).parent.glob("*.v*.json"))
TODAYS = [path for path in FILES if path.stem in {message.__struct_config__.tag for message in get_args(Batch)}]
OLD = [path for path in FILES if path not in TODAYS]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_of_every_version_is_read_and_written_without_loss(path: Path) -> None:
    message = decode(path.read_bytes())
    assert decode(encode(message)) == message


@pytest.mark.parametrize("path", TODAYS, ids=lambda path: path.stem)
def test_every_field_of_an_example_is_known(path: Path) -> None:
    """A field that was renamed would be dropped in silence: the example and what is written again must agree."""
    example = msgspec.json.decode(path.read_bytes())
    written = msgspec.json.decode(encode(decode(path.read_bytes())))
    _contains(written, example, path.stem)


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_an_old_message_is_read_as_today_s_without_its_addresses(path: Path) -> None:
    """Items are kept to the last field; what version 1 says of a model or judge is its name alone."""
    example = msgspec.json.decode(path.read_bytes())
    written = msgspec.json.decode(encode(decode(path.read_bytes())))
    assert written["message"] == example["message"].replace(".v1", ".v2")
    _contains(written["items"], example["items"], "items")
    named = {key: example[key]["name"] for key in ("model", "judge") if key in example}
    assert {key: written[key] for key in named} == named
    assert written.get("specification", "") == ""


def test_every_message_class_has_an_example() -> None:
    tags = {message.__struct_config__.tag for message in get_args(Batch)}
    assert tags <= {path.stem for path in FILES}


def test_a_message_of_an_unknown_version_is_refused_by_name() -> None:
    with pytest.raises(MessageError, match=r"generate\.v99"):
        decode('{"message": "generate.v99"}')


def test_a_message_that_is_not_json_is_refused() -> None:
    with pytest.raises(MessageError, match="not a message KARMA can read"):
        decode(b"\x80\x04pickle")


def _contains(written: object, example: object, where: str) -> None:
    if isinstance(example, dict):
        assert isinstance(written, dict), where
        for name, value in example.items():
            assert name in written, f"{where}.{name}"
            _contains(written[name], value, f"{where}.{name}")
    elif isinstance(example, list):
        assert isinstance(written, list), where
        for place, value in enumerate(example):
            _contains(written[place], value, f"{where}[{place}]")
    else:
        assert written == example, where
