"""Sources: files as they are found, in whatever pieces they arrive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.errors import SettingsError
from karma_gateway.sources.json_lines import read_lines
from karma_gateway.sources.splitting import Splitter

LIMIT = 10_000

ONE, TWO = b'{"id": "1", "prompt": "a \\" {[\\\\"}', b'{"id": "2", "prompt": "\xc3\xa4]"}'


def split(data: bytes, size: int = 1 << 16, limit: int = LIMIT) -> list[tuple[int, bytes]]:
    splitter = Splitter(limit)
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return [found for piece in pieces for found in splitter.feed(piece)] + list(splitter.finish())


def pretty(*lines: bytes, indent: int = 2) -> list[bytes]:
    return [json.dumps(json.loads(line), indent=indent).encode() for line in lines]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 16])
@pytest.mark.parametrize(
    ("data", "numbers"),
    [
        (ONE + b"\n" + TWO + b"\n", (1, 2)),
        (b"\xef\xbb\xbf" + ONE + b"\r\n" + TWO, (1, 2)),
        (ONE + b"\r" + TWO + b"\r", (1, 2)),
        (b"\r\n\r\n" + ONE + b"\r\n\r\n" + TWO, (3, 5)),
        (b"[" + ONE + b", " + TWO + b"]", (1, 1)),
        (b"\n [\n" + ONE + b"\n,\n" + TWO + b"\n]\n", (3, 5)),
        (b"\xef\xbb\xbf[" + b",".join(pretty(ONE, TWO)) + b"]", (1, 4)),
        (b"\n".join(pretty(ONE, TWO)).replace(b"\n", b"\r\n"), (1, 5)),
        (b"\n".join(pretty(ONE, TWO, indent=0)), (1, 5)),
        (b"[" + ONE + b"]\n" + TWO, (1, 2)),
    ],
    ids=["lines", "bom", "cr", "crlf", "array", "array of lines", "pretty array", "pretty", "no indent", "both"],
)
def test_whatever_holds_two_prompts_gives_two_prompts_with_their_lines(
    data: bytes, numbers: tuple[int, int], size: int
) -> None:
    found = split(data, size)
    assert [json.loads(content) for _number, content in found] == [json.loads(ONE), json.loads(TWO)]
    assert tuple(number for number, _content in found) == numbers


@pytest.mark.parametrize("bad", [b'{"prompt": "a"', b'{"prompt": "a",', b"oops", b"[oops", b'["a"]', b'{"prompt": "a'])
def test_a_broken_first_line_takes_no_other_with_it(bad: bytes) -> None:
    good = [json.loads(content) for _number, content in split(bad + b"\n" + ONE + b"\n" + TWO + b"\n")[-2:]]
    assert good == [json.loads(ONE), json.loads(TWO)]


def test_a_broken_element_of_an_array_takes_no_other_with_it() -> None:
    found = split(b'[{"prompt": "a" "b"},\n{"prompt": "never closed},\n}' + b",\n" + ONE + b", 7, " + TWO + b"]")
    assert [number for number, _content in found] == [1, 2, 4, 4, 4]
    assert [found[2][1], found[4][1]] == [ONE, TWO]


@pytest.mark.parametrize(
    "data", [b'{"prompt": "' + b"a" * 50 + b'"}\n' + ONE, b'[{"p": "' + b"a" * 50 + b'"},\n' + ONE]
)
def test_a_value_above_the_limit_is_cut_and_takes_no_other_with_it(data: bytes) -> None:
    (_first, cut), (second, whole) = split(data, 5, limit=45)
    assert len(cut) == 46
    assert (second, whole) == (2, ONE)


@given(st.binary(), st.integers(1, 9))
def test_pieces_make_no_difference(data: bytes, size: int) -> None:
    assert split(data, size) == split(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PAR1\x15", "looks like parquet; JSON Lines are expected"),
        (b"PK\x03\x04", "looks like a zip archive or a spreadsheet"),
        ("{}".encode("utf-16"), "looks like UTF-16; save it as UTF-8"),
        (b"prompt,skill\nhello,talk\n", "looks like CSV; JSON Lines"),
        (b"\xef\xbb\xbfprompt\tskill\r\nhello\ttalk\r\n", "looks like CSV"),
        (b"<!DOCTYPE html>", "looks like HTML"),
    ],
)
def test_a_file_that_is_no_json_is_named_in_one_sentence(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "prompts").write_bytes(data)
    with pytest.raises(SettingsError, match=said):
        list(read_lines(str(tmp_path / "prompts"), LIMIT))


def test_a_folder_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"is a folder; name a file of JSON Lines"):
        list(read_lines(str(tmp_path), LIMIT))


def test_a_line_of_words_before_json_lines_is_no_csv(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"a, b\n" + ONE)
    assert [line.number for lines in read_lines(str(tmp_path / "f"), LIMIT) for line in lines] == [1, 2]
