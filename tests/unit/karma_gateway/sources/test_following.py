"""A file that grows, is rotated, and is cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from karma.errors import SettingsError
from karma_gateway.sources.following import follow
from karma_gateway.sources.items import Fault, Item, Line


class Log:
    """A file that somebody writes, and what its follower has seen."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: Iterator[list[Item]] = follow(str(path), 1000, poll_s=0)

    def write(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)

    def read(self) -> list[object]:
        """The prompts of the next lines, and faults as their reasons; until an empty chunk."""
        found: list[object] = []
        for chunk in self._seen:
            if not chunk:
                return found
            found += [json.loads(each.content)["p"] if isinstance(each, Line) else _reason(each) for each in chunk]
        raise AssertionError("it ended")


def _reason(item: Item) -> str:
    assert isinstance(item, Fault)
    return item.reason


def line(prompt: object) -> str:
    return json.dumps({"p": prompt}) + "\n"


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "prompts.jsonl")


def test_a_line_is_taken_once_it_is_finished(log: Log) -> None:
    assert log.read() == []  # there is no file yet
    log.write(line(1) + line(2)[:5])
    assert log.read() == [1]
    assert log.read() == []
    log.write(line(2)[5:] + line(3))
    assert log.read() == [2, 3]


def test_a_rotated_file_is_read_to_its_end_and_the_new_one_from_its_beginning(log: Log) -> None:
    log.write(line(1))
    assert log.read() == [1]
    log.path.rename(log.path.with_suffix(".1"))
    with log.path.with_suffix(".1").open("a") as old:
        old.write(line(2) + line(3).rstrip("\n"))  # its writer had it open
    assert log.read() == [2]  # until the new one is there, the last line may go on
    log.write(line(4))
    assert log.read() == [3, 4]


def test_a_cut_file_is_read_from_its_start_and_a_lost_beginning_is_said(log: Log) -> None:
    log.write(line(1) + line(2)[:5])
    assert log.read() == [1]
    log.path.write_text("")
    assert log.read() == ["was cut within a line, whose beginning is left out; it is read from its start"]
    log.write(line(3))
    assert log.read() == [3]
    log.path.write_text("")
    assert log.read() == []
    log.write(line(4))
    assert log.read() == [4]


def test_what_is_no_json_is_not_followed(log: Log) -> None:
    log.path.write_bytes(b"PAR1\x00")
    with pytest.raises(SettingsError, match="looks like parquet"):
        log.read()
