"""What the page's server answers, on real databases and over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from karma.messages import GenerateBatch, JudgeBatch, LearnBatch
from karma.store import Store
from karma.store.streams import paused
from karma_monitor.figures import endpoints
from karma_monitor.page import models as models_view
from karma_monitor.page import quality as quality_view
from karma_scoring.fit.refit import Refitter
from tests.support.memory import ENDPOINT, Flow, make_pool
from tests.support.page import Page, Stream, serving
from tests.support.pipeline import wait_until

#: Requeued prompts of each kind.
NONE = {"dead": 0, "without_pair": 0, "missing_verdicts": 0, "unscored": 0}


@pytest.fixture
def page(store: Store) -> Iterator[Page]:
    with serving(store) as (served, _live):
        yield served


def stream_of_pairs(store: Store, number: int = 12) -> Flow:
    """Pairs of two streams, every third one a tie, with a text that a browser must not run."""
    flow = Flow(store, make_pool("ab"))
    flow.accept(
        *({"prompt": f"<b>prompt</b> {n}", "id": f"p{n}", "skill": "talk"} for n in range(number)), stream="mine"
    )
    flow.accept({"prompt": 'say "quoted"\nand ü', "id": "q"}, stream="other")
    while flow.dispatcher.admit() or flow.sent:
        for batch in flow.messages():
            if isinstance(batch, GenerateBatch):
                flow.handle(flow.answer(batch))
            elif isinstance(batch, JudgeBatch):
                judged = flow.judge(batch)
                items = [replace(one, probability=0.5) if one.pair % 3 == 0 else one for one in judged.items]
                flow.handle(replace(judged, items=tuple(items)))
            else:
                flow.handle(batch)
    return flow


def test_every_view_answers_on_an_empty_store(page: Page) -> None:
    for path in ("board", "models", "quality", "quality?stream=none", "pairs", "dead", "failures"):
        assert isinstance(page.get(f"/api/{path}"), dict)
    assert page.get("/api/pairs") == {"pairs": [], "next": None, "searched": 0}
    assert page.get("/api/models")["models"] == []
    assert page.get("/api/quality")["window"] == 0


def test_answers_are_bounded_however_many_names_the_store_holds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt's given responses may name any number of models, and streams are named by whoever enqueues."""
    monkeypatch.setattr(endpoints, "NAMES", 1)
    monkeypatch.setattr(models_view, "_MOST_MODELS", 1)
    monkeypatch.setattr(quality_view, "_MOST_STREAMS", 1)
    flow = stream_of_pairs(store)
    Refitter(store, flow.pool).refit(1)
    with serving(store, flow.pool) as (page, _live):
        board, found, shown = page.get("/api/board"), page.get("/api/models"), page.get("/api/quality")
    assert [one["kind"] for one in board["endpoints"]] == ["model", "judge"]
    assert board["endpoints_left_out"] >= 1
    assert (len(found["models"]), len(found["course"]), found["models_known"]) == (1, 1, 2)
    assert [one["name"] for one in shown["policies"]] == ["mine: informative"]  # of 12 pairs of 13


def test_every_view_shows_what_the_store_holds(store: Store, page: Page) -> None:
    flow = stream_of_pairs(store)
    Refitter(store, flow.pool).refit(1)
    models = page.get("/api/models")
    assert (models["skill"], models["skills"], models["version"]) == ("overall", ["overall", "talk"], 1)
    assert [one["model"] for one in models["models"]] == models["kinship"]["names"] == models["wins"]["names"]
    best, worst = models["models"]
    assert best["mean"] > worst["mean"]
    assert best["preliminary"] is True
    assert models["wins"]["cells"][0][1] > 0.5
    assert models["wins"]["counts"][0][1] == models["wins"]["counts"][1][0] > 0
    assert len(models["course"][0]["points"]) == 1
    quality = page.get("/api/quality?stream=mine")
    assert (quality["stream"], quality["window"]) == ("mine", 12)
    assert sum(quality["histograms"]["probability"]["counts"]) < sum(quality["histograms"]["gap"]["counts"]) == 12
    (policy,) = quality["policies"]
    assert (policy["name"], policy["pairs"], policy["prompts"]) == ("informative", 12, 12)
    assert policy["tie"] + policy["decisive"] == 12
    (judged,) = quality["preferences"]
    assert (judged["stream"], judged["label_source"], judged["preferences"]) == ("mine", "judge", policy["decisive"])
    assert sum(part["preferences"] for part in quality["preferences_over_time"]) == policy["decisive"]
    (judge,) = quality["judges"]
    assert (judge["judge"], judge["verdicts"], judge["failed"], judge["agreement"]) == ("j", 24, 0, None)
    assert page.get("/api/quality")["window"] == 13
    assert page.get("/api/board")["outcome"]["preferences"] == policy["decisive"] + 1


def test_a_skill_that_nobody_knows_is_refused_with_those_that_are_known(store: Store, page: Page) -> None:
    flow = stream_of_pairs(store, 3)
    Refitter(store, flow.pool).refit(1)
    status, found, _headers = page.ask("/api/models?skill=tlak")
    assert status == 404
    assert "did you mean 'talk'" in found["error"]


def test_leafing_through_the_pairs_shows_each_once_newest_first(store: Store, page: Page) -> None:
    stream_of_pairs(store)
    seen: list[int] = []
    before = None
    while True:
        found = page.get("/api/pairs?limit=5" + (f"&before={before}" if before else ""))
        seen += [pair["pair"] for pair in found["pairs"]]
        before = found["next"]
        if before is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 13


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("stream=other", 1),
        ("stream=mine&outcome=tie", 4),
        ("outcome=unscored", 0),
        ("outcome=open", 0),
        ("model=a", 13),
        ("model=c", 0),
        ("judge=j", 13),
        ("judge=k", 0),
        ("policy=informative", 13),
        ("source=predicted", 0),
        ("text=%3CB%3EPROMPT", 12),
        ("text=%22quoted%22%0Aand%20%C3%BC", 1),
        ("text=a%20says&stream=mine", 12),
        ("text=100%25", 0),
        ("text=%C3%9C", 1),
        ("text=role", 0),
        ("text=content&stream=mine", 0),
        ("outcome=&stream=", 13),
    ],
)
def test_filters_find_what_they_name_and_nothing_else(store: Store, page: Page, query: str, number: int) -> None:
    stream_of_pairs(store)
    found = page.get(f"/api/pairs?{query}&limit=100")
    assert len(found["pairs"]) == number
    assert found["next"] is None
    assert found["searched"] == 13


def test_a_pair_is_shown_with_its_texts_as_they_are_and_in_words(store: Store, page: Page) -> None:
    stream_of_pairs(store)
    (listed,) = page.get("/api/pairs?stream=other")["pairs"]
    assert listed["prompt"] == 'say "quoted"\nand ü'
    assert listed["flipped"] is False
    facts = page.get(f"/api/pairs/{listed['pair']}")
    assert facts["messages"] == [{"role": "user", "content": 'say "quoted"\nand ü'}]
    assert facts["responses"]["a"]["text"] == listed["text_a"]
    assert facts["words"][0] == f"Pair {listed['pair']}: prompt q of the stream other"
    status, found, _headers = page.ask("/api/pairs/999")
    assert (status, "has no pair 999" in found["error"]) == (404, True)


def test_dead_prompts_are_listed_and_brought_back(store: Store, page: Page) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept(*({"prompt": f"p{n}", "id": f"p{n}"} for n in range(5)))
    with store.transaction() as transaction:
        for prompt in (1, 2, 3):
            transaction.ledger.dead_letter(prompt, "boom")
    found = page.get("/api/dead?limit=2")
    assert ([one["prompt_id"] for one in found["dead"]], found["total"]) == (["p2", "p1"], 3)
    assert [one["prompt_id"] for one in page.get(f"/api/dead?before={found['next']}")["dead"]] == ["p0"]
    assert page.post("/api/requeue", {"what": "dead", "stream": "another"}) == (200, {"requeued": 0, **NONE})
    assert page.post("/api/requeue", {"what": "dead", "stream": None}) == (200, {"requeued": 3, **NONE, "dead": 3})
    assert page.get("/api/dead") == {"dead": [], "next": None, "total": 0}


def test_the_verdicts_of_a_judge_that_was_down_are_requeued_too(store: Store) -> None:
    """As `karma requeue failed` does: the pair has a label by the other judge, which stands until both have one."""
    judges = {name: {"kind": "openai", "model": {**ENDPOINT, "model": name}} for name in ("up", "down")}
    flow = Flow(store, make_pool("ab", judges=judges))
    flow.accept({"prompt": "p"})

    def judged(batch: JudgeBatch, failing: str) -> LearnBatch:
        return flow.judge(batch, failure="connection dropped" if batch.judge == failing else None)

    def run(failing: str) -> list[str]:
        asked = []
        while flow.dispatcher.admit() or flow.sent:
            for batch in flow.messages():
                if isinstance(batch, JudgeBatch):
                    asked.append(batch.judge)
                    flow.handle(judged(batch, failing))
                else:
                    flow.handle(flow.answer(batch) if isinstance(batch, GenerateBatch) else batch)
        return asked

    assert sorted(run("down")) == ["down", "up"]
    with serving(store, flow.pool) as (page, _live):
        found = page.post("/api/requeue", {"what": "failed", "stream": None})
        assert found == (200, {"requeued": 1, **NONE, "missing_verdicts": 1})
        assert run("nobody") == ["down"]
        assert page.post("/api/requeue", {"what": "failed", "stream": None}) == (200, {"requeued": 0, **NONE})
    with store.reading() as transaction:
        (count,) = transaction.preferences.counts()
    assert count.wins_a + count.wins_b == 1


def test_failures_are_told_by_reason(store: Store, page: Page) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept({"prompt": "p"}, {"prompt": "q"})
    flow.dispatcher.admit()
    for batch in flow.messages():
        assert isinstance(batch, GenerateBatch)
        flow.handle(flow.answer(batch, failure="429: later") if batch.model == "a" else flow.answer(batch))
    flow.finish()
    found = page.get("/api/failures")
    ((one,), unscored) = found["responses"], found["unscored"]
    assert (one["model"], one["reason"], one["count"], unscored) == ("a", "429: later", 2, [])
    flow.accept({"prompt": "r"})
    flow.dispatcher.admit()
    while batches := flow.messages():
        for batch in batches:
            if isinstance(batch, GenerateBatch):
                flow.handle(flow.answer(batch))
            elif isinstance(batch, JudgeBatch):
                flow.handle(flow.judge(batch, failure="no verdict\nbut much talk"))
            else:
                flow.handle(batch)
    found = page.get("/api/failures")
    ((verdict,), (pair,)) = found["verdicts"], found["unscored"]
    assert (verdict["judge"], verdict["reason"], verdict["count"]) == ("j", "no verdict", 2)
    assert (pair["stream"], pair["count"]) == ("default", 1)


def test_the_page_pauses_and_goes_on(store: Store, page: Page) -> None:
    assert page.post("/api/pause", {"stream": "s"}) == (200, {"paused": True, "changed": True})
    assert page.post("/api/pause", {"stream": None}) == (200, {"paused": True, "changed": True})
    with store.reading() as transaction:
        assert list(paused(transaction.ledger.connection)) == ["*", "s"]
    assert page.get("/api/board")["paused"] == ["*", "s"]
    assert page.post("/api/resume", {"stream": None}) == (200, {"paused": False, "changed": True})
    assert page.get("/api/board")["paused"] == []


def test_all_who_watch_get_the_same_pictures_and_one_look_makes_each(store: Store, page: Page) -> None:
    streams = [Stream(page) for _watcher in range(3)]
    wait_until(lambda: all(len(stream.ids) >= 3 for stream in streams), 20, "pictures come")
    Flow(store, make_pool("ab")).accept({"prompt": "p"}, stream="new")
    wait_until(lambda: all("new" in stream.pictures[-1]["streams"] for stream in streams), 20, "it is shown")
    for stream in streams:
        assert stream.ids == sorted(set(stream.ids))
        assert "event: live" in stream.lines
        stream.close()
    shared = set.intersection(*(set(stream.ids) for stream in streams))
    pictures = [dict(zip(stream.ids, stream.pictures, strict=False)) for stream in streams]
    assert shared
    assert all(pictures[0][ident] == other[ident] for ident in shared for other in pictures)


def test_nothing_is_looked_at_while_nobody_watches(store: Store) -> None:
    with serving(store) as (page, live):
        assert live.looks == 0
        stream = Stream(page)
        wait_until(lambda: stream.ids, 20, "a picture comes")
        stream.close()
        wait_until(lambda: not live.is_looking, 20, "it stops looking")
        again = Stream(page)
        wait_until(lambda: again.ids, 20, "it looks again")
        again.close()


def test_health_says_what_is_away(page: Page) -> None:
    status, found, _headers = page.ask("/healthz")
    assert (status, found) == (503, {"ok": False, "away": ["redis"]})
