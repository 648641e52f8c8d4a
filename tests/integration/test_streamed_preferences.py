"""Preferences of a store that grows: each comes once, whatever the order of resolutions, and after a resumption."""

from __future__ import annotations

import json
import pickle
import random
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

from karma.data import Preferences
from karma.errors import SettingsError
from karma.messages import GenerateBatch, JudgeBatch
from karma.store import Store
from karma.store.deletion import delete_stream
from karma.store.export_filter import ExportFilter
from karma.store.requeue import bring_back, requeue_unscored
from tests.support.memory import Flow, make_pool


def url_of(store: Store) -> str:
    return store.engine.url.render_as_string(hide_password=False)


def texts(rows: list[dict]) -> list[str]:
    return [row["prompt"][0]["content"] for row in rows]


class Growing(Flow):
    """A pipeline whose judge answers some pairs late."""

    def __init__(self, store: Store, seed: int = 0) -> None:
        super().__init__(store, make_pool("ab"))
        self.random = random.Random(seed)
        self.held: list[JudgeBatch] = []
        self.accepted = 0

    def more(self, prompts: int) -> None:
        """More prompts; about half of the messages to the judge, and of those before, are answered now."""
        for _prompt in range(prompts):
            self.accept({"id": f"p{self.accepted}", "prompt": f"prompt {self.accepted}"})
            self.accepted += 1
            self.dispatcher.admit()
            while self.sent:
                for batch in self.messages():
                    if isinstance(batch, JudgeBatch):
                        self.held.append(batch)
                    else:
                        self.handle(self.answer(batch) if isinstance(batch, GenerateBatch) else batch)
        self.random.shuffle(self.held)
        now, self.held = self.held[: len(self.held) // 2], self.held[len(self.held) // 2 :]
        self.answer_held(now)

    def answer_held(self, batches: list[JudgeBatch], failure: str | None = None) -> None:
        for batch in batches:
            self.handle(self.judge(batch, failure=failure))


@pytest.mark.parametrize("seed", range(3))
def test_each_preference_comes_once_over_many_passes_cut_off_anywhere(store: Store, seed: int) -> None:
    flow = Growing(store, seed)
    rng = random.Random(seed)
    preferences = Preferences(url_of(store))
    used: list[str] = []
    for _round in range(12):
        flow.more(rng.randrange(6))
        read = texts(list(preferences))
        kept = rng.randrange(len(read) + 1)  # a trainer had read ahead and used so many
        used += read[:kept]
        state = json.loads(json.dumps(preferences.state_dict(kept)))
        preferences = pickle.loads(pickle.dumps(Preferences(url_of(store))))  # another process
        preferences.load_state_dict(state)
    flow.answer_held(flow.held)
    used += texts(list(preferences))
    assert Counter(used) == Counter(f"prompt {n}" for n in range(flow.accepted))


def test_rows_come_in_the_order_of_their_pairs_and_a_second_iteration_begins_anew(store: Store) -> None:
    flow = Growing(store)
    flow.more(20)
    preferences = Preferences(url_of(store))
    first = texts(list(preferences))
    assert first == sorted(first, key=lambda text: int(text.split()[1]))
    assert 0 < len(first) < 20
    flow.answer_held(flow.held)
    assert texts(list(preferences)) == [f"prompt {n}" for n in range(20)]


def test_a_look_at_the_first_row_reads_nothing(store: Store) -> None:
    flow = Growing(store)
    flow.more(8)
    flow.answer_held(flow.held)
    preferences = Preferences(url_of(store))
    next(iter(preferences))
    assert len(list(preferences)) == 8


def test_waiting_ends_when_nothing_comes_for_so_long_and_what_comes_meanwhile_is_read(store: Store) -> None:
    flow = Growing(store)
    flow.more(4)
    left = [3, 2, 0, 0]

    def more(_since_s: float) -> None:
        if left:
            flow.more(left.pop(0))
        else:
            flow.answer_held(flow.held)
            flow.held = []

    waiting = Preferences(url_of(store), wait=0.4, poll_s=0.01, on_wait=more)
    assert sorted(texts(list(waiting))) == sorted(f"prompt {n}" for n in range(9))


def test_splits_divide_the_prompts_and_shards_the_pairs(store: Store) -> None:
    flow = Growing(store)
    flow.more(60)
    flow.answer_held(flow.held)
    everything = texts(list(Preferences(url_of(store))))
    parts = {name: texts(list(Preferences(url_of(store), split=name))) for name in ("train", "test")}
    assert sorted(parts["train"] + parts["test"]) == sorted(everything)
    assert len(parts["train"]) > len(parts["test"]) > 0
    whole = Preferences(url_of(store))
    thirds = [texts(list(whole.sharded(number, 3))) for number in range(3)]
    assert sorted(chain(*thirds)) == sorted(everything)
    halves = [texts(list(whole.sharded(0, 3).sharded(number, 2))) for number in range(2)]
    assert sorted(chain(*halves)) == sorted(thirds[0])


def test_pairs_without_a_verdict_are_read_once_they_have_one(store: Store) -> None:
    flow = Growing(store)
    flow.more(3)
    flow.answer_held(flow.held, failure="the judge was down")
    preferences = Preferences(url_of(store))
    first = texts(list(preferences))
    state = preferences.state_dict()
    list(bring_back(store, requeue_unscored))
    flow.finish()
    preferences.load_state_dict(state)
    second = texts(list(preferences))
    assert len(first) < 3
    assert sorted(first + second) == [f"prompt {n}" for n in range(3)]


def test_pairs_that_have_the_ids_of_deleted_ones_are_read(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept({"id": "k", "prompt": "kept"}, stream="kept")
    flow.finish()
    flow.accept(*({"id": str(n), "prompt": f"gone {n}"} for n in range(5)), stream="gone")
    flow.finish()
    preferences = Preferences(url_of(store))
    assert len(list(preferences)) == 6
    preferences.load_state_dict(preferences.state_dict())
    list(delete_stream(store, "gone", None))
    flow.accept(*({"id": str(n), "prompt": f"new {n}"} for n in range(3)), stream="new")
    flow.finish()
    assert texts(list(preferences)) == ["new 0", "new 1", "new 2"]


def test_a_stream_and_a_filter_choose_the_rows(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    for stream in ("mine", "other"):
        flow.accept({"id": "p", "prompt": stream}, stream=stream)
        flow.finish()
    assert texts(list(Preferences(url_of(store), stream="mine"))) == ["mine"]
    nothing = ExportFilter(stream="mine", least_probability=0.99)
    assert list(Preferences(url_of(store), kept=nothing)) == []


def test_torch_and_datasets_read_them(store: Store) -> None:
    from torch.utils.data import DataLoader

    flow = Growing(store)
    flow.more(12)
    flow.answer_held(flow.held)
    preferences = Preferences(url_of(store))
    loaded = DataLoader(preferences.to_torch(), batch_size=None, num_workers=2)
    assert sorted(texts(list(loaded))) == sorted(f"prompt {n}" for n in range(12))
    mapped = preferences.to_datasets().map(lambda row: {"length": len(row["chosen"][0]["content"])})
    assert [row["length"] for row in mapped] == [len(row["chosen"][0]["content"]) for row in preferences]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "dev"}, "split is 'dev', expected one of train, test"),
        ({"shard": 2, "shards": 2}, "shard is 2 of 2, expected 0 to 1"),
        ({"exporter": "trl-dp"}, "trl-dpo"),
        ({"exporter": "kto"}, "mixes the rows of a whole file; write one with karma export kto"),
        ({"splits": {"train": 0.5, "test": 0.2}, "split": "test"}, "add up to 0.7, expected 1"),
        ({"splits": "train=.5,test=.5"}, "expected shares by name"),
        ({"wait": "yes"}, "wait is 'yes', expected True, False, or seconds"),
        ({"wait": -1}, "wait is -1, expected"),
        ({"stream": "nope"}, "no stream is called 'nope'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(options: dict, words: str, tmp_path: Path) -> None:
    Store(f"sqlite:///{tmp_path / 'karma.db'}").migrate()
    with pytest.raises(SettingsError, match=words):
        Preferences(tmp_path, **options)


def test_a_home_without_a_store_and_a_state_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no store at .* yet; karma enqueue FILE makes it"):
        Preferences(tmp_path / "nowhere")
    Store(f"sqlite:///{tmp_path / 'karma.db'}").migrate()
    preferences = Preferences(tmp_path)
    for state in ({}, {"version": 2, "after": 0, "unread": [], "deletion": 0}, {"version": 1, "after": "x"}):
        with pytest.raises(SettingsError, match=r"expected what Preferences.state_dict\(\) returned"):
            preferences.load_state_dict(state)
    with pytest.raises(SettingsError, match="5 rows are said to be used, but 0 were read"):
        preferences.state_dict(5)
