"""Files of exports, read back with `datasets` as a trainer reads them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from karma.errors import KarmaError, SettingsError
from karma_gateway import exports
from karma_gateway.exports.files import write
from tests.support.memory import Flow, make_pool
from tests.support.stores import memory

Row = dict[str, Any]
PADDING = "word " * 800
ENDINGS = ["jsonl", "parquet"]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    caches = count()

    def loaded(*paths: Path) -> Any:
        kind = "json" if paths[0].suffix == ".jsonl" else "parquet"
        cache = str(tmp_path / f"cache{next(caches)}")
        return load_dataset(kind, data_files=[str(path) for path in paths], split="train", cache_dir=cache)

    return loaded


def late(number: int, early: Row, later: Row) -> Iterator[Row]:
    """`number` rows of 4 KB, the last with other values than those before."""
    for index in range(number):
        yield {"n": index, "padding": PADDING, **(early if index < number - 1 else later)}


LATE: list[tuple[Row, Row]] = [
    ({"skill": None}, {"skill": "talk"}),
    ({"skill": None}, {"skill": "007"}),
    ({"skill": "true"}, {"skill": "null"}),
    ({"cost": None}, {"cost": 0.25}),
    ({"cost": 0}, {"cost": 0.7}),
    ({"agrees": None}, {"agrees": True}),
    ({"text": "2024-01-01"}, {"text": "no date"}),
    ({"karma": {"skill": None}}, {"karma": {"skill": "talk"}}),
    ({"turns": [{"role": "user"}]}, {"turns": [{"role": "tool", "name": "x"}]}),
]


@pytest.mark.ci
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("early", "later"), LATE)
def test_what_stands_after_the_first_20_mb_loads_as_it_was_written(
    load: Callable[..., Any], tmp_path: Path, ending: str, early: Row, later: Row
) -> None:
    path = tmp_path / f"out.{ending}"
    number = 5_200
    assert write(late(number, early, later), path, None) == number
    assert ending == "parquet" or path.stat().st_size > 20_000_000
    loaded = sorted(load(path), key=lambda row: row["n"])
    (name,) = early
    absent = {"name": None} if name == "turns" and ending == "parquet" else {}
    for row, written in ((loaded[0], early), (loaded[-1], later)):
        expected = [absent | turn for turn in written[name]] if name == "turns" else written[name]
        assert row[name] == expected
    assert [row["n"] for row in loaded] == list(range(number))


TEXTS = ["007", "true", "null", "2024-01-01", "1e5", "[1]", '{"a": 1}', "", " ", "\u2028", "NaN"]


def test_json_lines_put_the_rows_that_show_a_type_first_and_keep_the_order_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a small window instead of 10 MiB."""
    monkeypatch.setattr("karma_gateway.exports.files._TYPED_BYTES", 100)
    rows = [{"n": n, "skill": "talk" if n in (20, 30) else None, "cost": 0.5 if n == 25 else 1} for n in range(40)]
    write(rows, tmp_path / "out.jsonl", None)
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["n"] for row in written[:3]] == [0, 20, 25]
    assert [row["n"] for row in written[3:]] == [n for n in range(40) if n not in (0, 20, 25)]
    assert sorted(written, key=lambda row: row["n"]) == rows


@pytest.fixture
def flow() -> Flow:
    """Prompts with texts that look like other types, metadata and tools, and one without any of it."""
    flow = Flow(memory(), make_pool("ab"))
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": "007"}'}}
    tools = [
        {"role": "user", "content": "1?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "2024-01-01", "tool_call_id": "c1"},
    ]
    for number, text in enumerate(TEXTS):
        flow.accept({"prompt": f"Say {number}.", "skill": text, "id": f"t{number}", "note": text})
    flow.accept({"messages": tools, "id": "tools"}, {"prompt": "plain", "id": "2024-01-01"})
    flow.finish()
    return flow


@pytest.mark.parametrize("form", ["trl-dpo", "jsonl"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_texts_that_look_like_other_types_stay_texts(
    load: Callable[..., Any], flow: Flow, tmp_path: Path, form: str, ending: str
) -> None:
    path = tmp_path / f"out.{ending}"
    assert exports.write(exports.rows(flow.store, form), path) == len(TEXTS) + 2
    rows = list(exports.rows(flow.store, form))
    for loaded, row in zip(load(path), rows, strict=True):
        assert without_nulls(loaded) == without_nulls(row)
        assert loaded["karma"].keys() == row["karma"].keys()
    assert {type(row["karma"]["metadata"]) for row in rows} == {str, type(None)}


def without_nulls(value: Any) -> Any:
    """With tools, a file has every key in every turn."""
    if isinstance(value, dict):
        return {name: without_nulls(part) for name, part in value.items() if part is not None}
    return [without_nulls(part) for part in value] if isinstance(value, list) else value


def test_an_export_without_tools_has_turns_of_role_and_content_only(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    flow = Flow(memory(), make_pool("ab"))
    flow.accept({"prompt": "one"})
    flow.finish()
    exports.write(exports.rows(flow.store, "trl-dpo"), tmp_path / "out.parquet")
    (row,) = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert row["prompt"] == [{"role": "user", "content": "one"}]


@pytest.mark.parametrize("bare", [False, True])
def test_an_empty_parquet_export_does_not_fail_its_folder(
    load: Callable[..., Any], flow: Flow, tmp_path: Path, bare: bool
) -> None:
    paths = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    assert exports.write(exports.rows(memory(), "trl-dpo", bare=bare), paths[0]) == 0
    with_tools = {"tool_calls", "tool_call_id"}
    rows = list(exports.rows(flow.store, "trl-dpo", bare=bare))
    plain = [row for row in rows if not any(with_tools & turn.keys() for turn in row["prompt"])]
    columns = exports.rows(flow.store, "trl-dpo", bare=bare).columns
    exports.write(plain, paths[1], columns)
    for order in (paths, paths[::-1]):
        assert len(load(*order)) == len(plain)


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_empty_export_never_replaces_a_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"kept.{ending}"
    path.write_text("kept")
    with pytest.raises(KarmaError, match="kept as it is, as there is no preference to export"):
        write([], path, None)
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [(path.name, "kept")]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ds", r"ds: is a folder; name a file in it, for example .*ds/preferences\.jsonl"),
        ("none/out.jsonl", "there is no folder .*none; make it first"),
        ("out.csv", r"must end with \.jsonl or \.parquet, for example .*/out\.jsonl$"),
        ("out", r"must end with \.jsonl or \.parquet"),
    ],
)
def test_a_name_that_cannot_be_written_says_what_was_expected_and_makes_no_folder(
    tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "ds").mkdir()
    with pytest.raises(SettingsError, match=said):
        write([{"a": 1}], tmp_path / name, None)
    assert [found.name for found in tmp_path.iterdir()] == ["ds"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("value", [float("nan"), object()])
def test_a_row_that_is_no_json_is_an_error_and_leaves_no_file(tmp_path: Path, ending: str, value: object) -> None:
    with pytest.raises(SettingsError, match="a row that is no JSON"):
        write([{"a": 1}, {"a": value}], tmp_path / f"out.{ending}", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("values", [[1, 2**70], [2**60 + 1, 0.5]])
def test_a_number_that_parquet_would_change_is_an_error(tmp_path: Path, values: list[float]) -> None:
    with pytest.raises(SettingsError, match="does not fit the type of its column"):
        write([{"a": value} for value in values], tmp_path / "out.parquet", None)


def test_a_column_of_dates_only_is_remarked_on(tmp_path: Path) -> None:
    remarks: list[str] = []
    write([{"chosen": "2024-01-01", "id": "x"}], tmp_path / "out.jsonl", None, remarks.append)
    write([{"chosen": "2024-01-01", "id": "x"}], tmp_path / "out.parquet", None, remarks.append)
    assert [remark.partition(":")[0] for remark in remarks] == ["every text in chosen looks like a date"]
