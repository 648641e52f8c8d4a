"""Folders of exports, opened as a trainer opens them: splits by prompt, parts, the card, going on after a stop."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select, update

from karma.config.splits import WHOLE, Splits
from karma.errors import KarmaError, SettingsError
from karma.store.export_filter import ExportFilter
from karma.store.schema import resolutions
from karma_gateway.exports.card import card
from karma_gateway.exports.folder import FolderExport, Layout, State
from karma_gateway.exports.reader import Exported, Reader
from tests.support.memory import Flow, make_pool
from tests.support.stores import memory

HALVES = Splits.parse("train=.5,test=.5")
LINEAGE: dict[str, Any] = {
    **{"goals": {"a`|b": "train"}, "models": {}, "judges": {}, "first_position": [], "flip_share": 0.1},
    **dict.fromkeys(("longer_wins", "longer_expected", "agreement", "predicted_label_error", "label_error")),
    "referenced": 0,
}


@pytest.fixture
def flow() -> Flow:
    made = Flow(memory(), make_pool("ab"))
    made.accept(*({"id": str(n), "prompt": f"Say {n // 2}" + " " * (n % 2)} for n in range(40)))
    made.finish()
    return made


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    caches = count()
    return lambda *names, **options: load_dataset(
        *map(str, names), cache_dir=str(tmp_path / f"cache{next(caches)}"), **options
    )


HALVED = Layout(HALVES)
ALL = ExportFilter()


def export(
    flow: Flow, folder: Path, form: str = "trl-dpo", layout: Layout = HALVED, kept: ExportFilter = ALL
) -> FolderExport:
    settings = {
        **{"format": form, "splits": dict(layout.splits.shares), "ending": layout.ending, "filter": {}},
        "default": form == "trl-dpo",
    }
    reader = Reader(flow.store, form, kept)
    return FolderExport(reader, folder, layout, settings, lambda whole: card(whole, LINEAGE, "apache-2.0"))


def users(rows: Any) -> set[str]:
    return {" ".join(row["prompt"][-1]["content"].split()) for row in rows}


def test_a_folder_opens_with_its_splits_and_no_prompt_is_in_two(
    flow: Flow, tmp_path: Path, load: Callable[..., Any]
) -> None:
    folder = tmp_path / "data"
    tally = export(flow, folder, layout=Layout(HALVES, part_preferences=7)).write()
    loaded = load(folder)
    assert {split: len(rows) for split, rows in loaded.items()} == dict(tally.rows)
    assert sum(tally.rows.values()) == tally.preferences == 40
    assert min(tally.rows.values()) > 5
    assert not users(loaded["train"]) & users(loaded["test"])
    assert len(users(loaded["train"]) | users(loaded["test"])) == 20
    assert len(list(folder.rglob("*.parquet"))) > 6
    streamed = list(load(folder, split="train", streaming=True))
    assert users(streamed) == users(loaded["train"])


def test_a_prompt_stays_in_its_split_as_the_store_grows(flow: Flow, tmp_path: Path, load: Callable[..., Any]) -> None:
    export(flow, tmp_path / "before").write()
    flow.accept(*({"id": f"new {n}", "prompt": f"say  {n}"} for n in range(40)), stream="other")
    flow.finish()
    export(flow, tmp_path / "after").write()
    before, after = load(tmp_path / "before"), load(tmp_path / "after")
    for split in ("train", "test"):
        assert users(before[split]) <= users(after[split])
        assert {text.casefold() for text in users(before[split])} <= {text.casefold() for text in users(after[split])}
    lower = {split: {text.casefold() for text in users(after[split])} for split in ("train", "test")}
    assert not lower["train"] & lower["test"]


def test_every_format_is_a_configuration_and_the_first_one_the_default(
    flow: Flow, tmp_path: Path, load: Callable[..., Any]
) -> None:
    folder = tmp_path / "data"
    export(flow, folder).write()
    export(flow, folder, "kto").write()
    assert load(folder)["train"].column_names == ["prompt", "chosen", "rejected", "karma"]
    unpaired = load(folder, "kto")
    assert sum(len(rows) for rows in unpaired.values()) == 80
    head = yaml.safe_load((folder / "README.md").read_text().split("---")[1])
    assert [(one["config_name"], one.get("default")) for one in head["configs"]] == [("trl-dpo", True), ("kto", None)]
    assert head["license"] == "apache-2.0"
    body = (folder / "README.md").read_text().split("---", 2)[2]
    assert "- Stream `a'¦b`, goal `train`." in body
    assert "40 preferences" in body
    assert "10.0% of pairs" in body


def test_json_lines_have_one_file_a_split(flow: Flow, tmp_path: Path, load: Callable[..., Any]) -> None:
    export(flow, tmp_path / "data", "llama-factory", Layout(HALVES, ".jsonl", part_preferences=3)).write()
    assert sum(len(rows) for rows in load(tmp_path / "data").values()) == 40
    info = json.loads((tmp_path / "data" / "dataset_info.json").read_text())
    assert info.keys() == {"karma_train", "karma_test"}
    assert all((tmp_path / "data" / one["file_name"]).exists() for one in info.values())


def test_a_split_without_a_row_is_left_out(tmp_path: Path, load: Callable[..., Any]) -> None:
    flow = Flow(memory(), make_pool("ab"))
    flow.accept({"prompt": "only one"})
    flow.finish()
    export(flow, tmp_path / "data").write()
    assert [len(rows) for rows in load(tmp_path / "data").values()] == [1]


def test_parts_with_and_without_tools_have_one_schema(tmp_path: Path, load: Callable[..., Any]) -> None:
    flow = Flow(memory(), make_pool("ab"))
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    tools = [
        {"role": "user", "content": "1?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "2", "tool_call_id": "c1"},
    ]
    flow.accept({"prompt": "first"}, {"messages": tools}, {"prompt": "last"})
    flow.finish()
    export(flow, tmp_path / "data", layout=Layout(WHOLE, part_preferences=1)).write()
    rows = list(load(tmp_path / "data", split="train"))
    assert [len(row["prompt"]) for row in rows] == [1, 3, 1]
    assert rows[1]["prompt"][1]["tool_calls"][0]["function"]["name"] == "add"


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("after", [0, 1, 7, 8, 20, 39])
def test_an_export_that_was_stopped_goes_on_and_nobody_sees_its_half(
    flow: Flow, tmp_path: Path, load: Callable[..., Any], after: int
) -> None:
    folder, layout = tmp_path / "data", Layout(HALVES, part_preferences=7)
    export(flow, tmp_path / "whole", layout=layout).write()
    export(flow, folder, layout=layout, kept=ExportFilter(stream="default")).write()
    published = sorted(path.name for path in (folder / "trl-dpo").iterdir())

    def stop(rows: Iterator[Exported]) -> Iterator[Exported]:
        yield from islice(rows, after)
        raise StoppedError

    with pytest.raises(StoppedError):
        export(flow, folder, layout=layout).write(stop)
    assert sorted(path.name for path in (folder / "trl-dpo").iterdir()) == published
    assert sum(len(rows) for rows in load(folder).values()) == 40

    again: list[int] = []

    def note(rows: Iterator[Exported]) -> Iterator[Exported]:
        for one in rows:
            again.append(one.pair)
            yield one

    tally = export(flow, folder, layout=layout).write(note)
    assert len(again) == 40 - after // 7 * 7
    assert tally.preferences == 40
    for split, rows in load(folder).items():
        assert list(rows) == list(load(tmp_path / "whole", split=split))
    assert not list(folder.glob(".*"))


def test_other_settings_begin_anew(flow: Flow, tmp_path: Path) -> None:
    folder, layout = tmp_path / "data", Layout(HALVES, part_preferences=7)

    def stop(rows: Iterator[Exported]) -> Iterator[Exported]:
        yield from islice(rows, 20)
        raise StoppedError

    with pytest.raises(StoppedError):
        export(flow, folder, layout=layout).write(stop)
    assert export(flow, folder, layout=Layout(WHOLE, part_preferences=7)).write().rows == {"train": 40}


def test_an_export_that_was_killed_in_its_first_part_begins_anew(flow: Flow, tmp_path: Path) -> None:
    left = tmp_path / "data" / ".trl-dpo.unfinished" / ".train-00000.parquet.f85c5b111a0b2b6b"
    left.parent.mkdir(parents=True)
    left.touch()
    assert export(flow, tmp_path / "data", layout=Layout(WHOLE)).write().rows == {"train": 40}
    kept = {".state.json", "train-00000.parquet"}
    assert {path.name for path in (tmp_path / "data" / "trl-dpo").iterdir()} == kept
    (tmp_path / "data" / "trl-dpo" / left.name).touch()
    assert export(flow, tmp_path / "data", layout=Layout(WHOLE)).resume()
    assert {path.name for path in (tmp_path / "data" / "trl-dpo").iterdir()} == kept


def test_a_folder_of_something_else_is_refused_and_an_empty_export_replaces_nothing(flow: Flow, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(SettingsError, match="holds files that are not of an export"):
        export(flow, tmp_path / "mine")
    export(flow, tmp_path / "data").write()
    before = (tmp_path / "data" / "README.md").read_text()
    with pytest.raises(KarmaError, match="there is no preference to export"):
        export(flow, tmp_path / "data", kept=ExportFilter(skills=("none",))).write()
    assert (tmp_path / "data" / "README.md").read_text() == before
    assert State.read(tmp_path / "data" / "trl-dpo") is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train=.9", "add up to 0.9, expected 1"),
        ("train=.5,train=.5", "'train' is no name of a split, or occurs twice"),
        ("=1", "'' is no name of a split"),
        ("all=1", "'all' is no name"),
        ("train=much", "the share of train is 'much'"),
        ("train=0,test=1", "the share of train is '0'"),
        ("train", "the share of train is ''"),
    ],
)
def test_splits_that_cannot_be_say_why(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Splits.parse(text)


def test_the_shares_of_splits_are_kept() -> None:
    splits = Splits.parse("train=.8, validation=.1, test=.1")
    found = [splits.of(prompt) for prompt in range(4000)]
    assert abs(found.count("train") / 4000 - 0.8) < 0.03
    assert abs(found.count("test") / 4000 - 0.1) < 0.03


def pairs(rows: Any) -> list[int]:
    return sorted(row["karma"]["pair"] for row in rows)


def test_an_export_that_follows_has_every_preference_once_whenever_it_becomes_visible(
    flow: Flow, tmp_path: Path, load: Callable[..., Any]
) -> None:
    """Pairs resolved out of the order of their ids, some later than the time that they bear, over a restart."""
    folder, layout = tmp_path / "data", Layout(WHOLE, part_preferences=25)
    with flow.store.reading() as transaction:
        ids = list(transaction.ledger.connection.execute(select(resolutions.c.pair)).scalars())
    hidden, newest = ids[3::7], 1_000_000.0

    def show(shown: list[int], at: float) -> None:
        """Resolve pairs at a time; those that are not resolved yet are undecided."""
        with flow.store.transaction() as transaction:
            changed = update(resolutions).where(resolutions.c.pair.in_(shown))
            transaction.ledger.connection.execute(changed.values(outcome="decisive", resolved_at=at))

    with flow.store.transaction() as transaction:
        connection = transaction.ledger.connection
        connection.execute(update(resolutions).values(resolved_at=newest))
        connection.execute(update(resolutions).where(resolutions.c.pair.in_(hidden)).values(outcome="tie"))
    following = export(flow, folder, layout=layout)
    assert following.write().preferences == 40 - len(hidden)
    assert following.follow() == 0
    show(hidden[:2], newest + 5)
    assert following.follow() == 2
    show(hidden[2:3], newest - 50)
    assert following.follow() == 1
    again = export(flow, folder, layout=layout)
    assert again.resume()
    assert again.follow() == 0
    show(hidden[3:], newest + 500)
    assert again.follow() == len(hidden) - 3
    assert again.follow() == 0
    assert pairs(load(folder, split="train")) == sorted(ids)
    assert "40 preferences" in (folder / "README.md").read_text()
    assert not export(flow, folder, layout=Layout(HALVES)).resume()
