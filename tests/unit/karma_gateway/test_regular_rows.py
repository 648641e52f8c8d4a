"""Rows like those before them are written as all others are, only faster."""

from __future__ import annotations

import json
from tempfile import TemporaryFile
from typing import Any

import pytest

from karma.errors import SettingsError
from karma_gateway.exporters import CHAT, KARMA
from karma_gateway.exports import files
from karma_gateway.exports.columns import Columns, Row
from karma_gateway.exports.files import Spool
from karma_gateway.exports.regular import RegularRows

COLUMNS: Columns = {"prompt": CHAT, "when": "string", "n": "int64", "x": "float64", "yes": "bool", "karma": KARMA}


def row(place: int, **more: Any) -> Row:
    made: Row = {
        "prompt": [{"role": "user", "content": f"Grüße {place} \u2028 \x00"}],
        "when": "2026-01-01",
        "n": place,
        "x": place / 3,
        "yes": place % 2 == 0,
        "karma": {"stream": "s", "pair": place, "probability": 1e-7 * place},
    }
    return made | more


VARIED = [
    *(row(place) for place in range(20)),
    row(20, x=3),  # a whole number in a decimal column
    row(21, x=2**53),
    row(22, n=None),
    row(23, n=2**70),
    row(24, when="not a time"),
    row(25, when="2026-01-01\n"),
    row(26, prompt=[{"role": "user", "content": "a", "name": "Ann"}, {"role": "assistant", "content": "b"}]),
    row(27, prompt=[]),
    {name: value for name, value in row(28).items() if name != "yes"},
    row(29, karma=None),
    row(30, prompt=({"role": "user", "content": "in a tuple"},)),
    *(row(place) for place in range(31, 60)),
]


def spooled(rows: list[Row]) -> tuple[list[bytes], Spool]:
    with TemporaryFile() as file:
        spool = Spool(file, columns=COLUMNS)
        for one in rows:
            spool.add(one)
        return list(spool.in_order()), spool


def test_both_ways_write_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = []
    line = RegularRows.line

    def noted(self: RegularRows, one: Row) -> bytes | None:
        fast.append(line(self, one))
        return fast[-1]

    monkeypatch.setattr(RegularRows, "line", noted)
    by_type, typed = spooled(VARIED)
    assert sum(each is not None for each in fast) > len(VARIED) / 2
    monkeypatch.setattr(RegularRows, "line", lambda _self, _row: None)
    each, plain = spooled(VARIED)
    assert [json.loads(one) for one in by_type] == [json.loads(one) for one in each]
    assert [list(json.loads(one)["karma"] or {}) for one in by_type] == [
        list(json.loads(one)["karma"] or {}) for one in each
    ]
    assert typed.types == plain.types
    assert typed._widening == plain._widening


@pytest.mark.parametrize(
    "wrong",
    [
        {"x": float("nan")},
        {"x": float("inf")},
        {"x": 2**53 + 1},
        {"x": True},
        {"n": 1.0},
        {"n": True},
        {"yes": 1},
        {"when": 3},
        {"more": 1},
        {"prompt": {"role": "user"}},
        {"karma": {"unknown": 1}},
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_after_many_rows_that_do(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        spooled([*(row(place) for place in range(20)), row(20, **wrong)])


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        spooled([*(row(place) for place in range(20)), row(20, when="\ud800")])


def test_rows_that_all_widen_the_type_are_not_given_a_type_each(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Counted(RegularRows):
        def __init__(self, *parts: Any) -> None:
            super().__init__(*parts)
            made.append(self)

    monkeypatch.setattr(files, "RegularRows", Counted)
    names = [f"c{place}" for place in range(40)]
    columns: Columns = {f"{name}?": "int64" for name in names}
    with TemporaryFile() as file:
        spool = Spool(file, columns=columns)
        for name in names:
            spool.add({name: 1})
    assert made == []
