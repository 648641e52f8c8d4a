"""Rejudge on the real schema and handlers: the stored pairs, other judges, and the base as it was."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from karma.config.derived_streams import Derivation
from karma.config.pool import Pool
from karma.errors import SettingsError
from karma.messages import GenerateBatch, JudgeBatch
from karma.store import Store
from karma.store.schema import pairs, prompts, resolutions, responses, verdicts
from karma_gateway.rematch import derive, rejudged
from karma_monitor.explain import explain
from karma_monitor.explanation import sentences
from karma_monitor.figures.quality import default_margin
from karma_monitor.figures.rematch import LabelChange, compare, label_change
from tests.support.memory import ENDPOINT, Flow, make_pool

PROMPTS = 6
JUDGES = {name: {"kind": "openai", "model": {**ENDPOINT, "model": name}} for name in ("old", "new", "other")}


def jury(**stream: Any) -> Pool:
    """Three judges, of which streams are judged by `old`."""
    own = {"responses_per_prompt": 0, "pairs_per_prompt": 2, "judges": ["old"], **stream}
    return make_pool("abc", judges=JUDGES, streams={"mine": own})


class Judged(Flow):
    """Judges with opinions of their own: `old` prefers the later text, the others the earlier one."""

    def judge(self, batch: JudgeBatch, probability: float | None = None, failure: str | None = None) -> Any:
        given = super().judge(batch, probability, failure)
        if batch.judge == "old":
            return given
        turned = (one.__class__(**{**as_dict(one), "probability": 1 - one.probability}) for one in given.items)
        return given.__class__(header=given.header, items=tuple(turned))


def as_dict(verdict: Any) -> dict[str, Any]:
    return {name: getattr(verdict, name) for name in verdict.__struct_fields__}


def run(store: Store, pool: Pool | None = None) -> Judged:
    """Six prompts of the stream `mine`, each with two pairs that `old` has judged."""
    flow = Judged(store, pool or jury())
    flow.accept(*({"prompt": f"prompt {n}", "id": f"p{n}", "skill": "talk"} for n in range(PROMPTS)), stream="mine")
    flow.finish()
    return flow


def rows(store: Store, stream: str) -> list[tuple[Any, ...]]:
    """The pairs of a stream with their labels, each named by its responses."""
    a, b, chosen = responses.alias(), responses.alias(), responses.alias()
    query = (
        select(prompts.c.prompt_id, a.c.model, b.c.model, chosen.c.model)
        .select_from(pairs)
        .join(prompts, prompts.c.id == pairs.c.prompt)
        .join(a, a.c.id == pairs.c.response_a)
        .join(b, b.c.id == pairs.c.response_b)
        .join(resolutions, resolutions.c.pair == pairs.c.id)
        .join(chosen, chosen.c.id == resolutions.c.chosen)
        .where(prompts.c.stream == stream)
    )
    with store.reading() as transaction:
        found = transaction.ledger.connection.execute(query)
        return sorted((row[0], *sorted((row[1], row[2])), row[3]) for row in found)


def judges_of(store: Store, stream: str) -> dict[str, int]:
    """The number of verdicts on a stream's pairs, by judge."""
    query = (
        select(verdicts.c.judge)
        .join(pairs, pairs.c.id == verdicts.c.pair)
        .join(prompts, prompts.c.id == pairs.c.prompt)
    )
    with store.reading() as transaction:
        found = list(transaction.ledger.connection.execute(query.where(prompts.c.stream == stream)).scalars())
    return {name: found.count(name) for name in sorted(set(found))}


def test_the_stored_pairs_get_verdicts_of_the_named_judges_and_the_base_keeps_its_own(store: Store) -> None:
    flow = run(store)
    before = rows(store, "mine")
    derived = rejudged("mine", ["other", "new"], False, flow.pool)
    assert derived.name == "mine@rejudge:new,other"
    found = derive(store, derived)
    assert (found.added, found.left_open, found.left_without_pair) == (PROMPTS, 0, 0)
    flow.dispatcher.admit()
    assert not [message for message in flow.messages() if isinstance(message, GenerateBatch)]
    flow.sent = [row.id for row in _carried(store)]
    flow.finish()
    assert rows(store, "mine") == before
    assert judges_of(store, "mine") == {"old": 4 * PROMPTS}
    assert judges_of(store, derived.name) == {"new": 4 * PROMPTS, "other": 4 * PROMPTS}
    again = rows(store, derived.name)
    assert [row[:3] for row in again] == [row[:3] for row in before]
    assert all(row[3] != other[3] for row, other in zip(again, before, strict=True))


def _carried(store: Store) -> Any:
    with store.reading() as transaction:
        return transaction.work.carried()


def test_the_labels_of_both_are_compared_pair_by_pair(store: Store) -> None:
    flow = run(store)
    derived = rejudged("mine", ["new"], False, flow.pool)
    derive(store, derived)
    flow.finish()
    figures = compare(store, [derived], default_margin)[derived.name]
    assert (figures["prompts"], figures["pairs"], figures["judge_calls"]) == (PROMPTS, 2 * PROMPTS, 4 * PROMPTS)
    assert label_change(store, derived) == LabelChange(2 * PROMPTS, 2 * PROMPTS, 0, 0, 0, 0.0)
    same = rejudged("mine", ["old"], False, flow.pool)
    derive(store, same)
    flow.finish()
    assert label_change(store, same).agreement == 1.0


def test_prompts_copied_later_are_added_and_others_are_left_alone(store: Store) -> None:
    flow = run(store)
    derived = rejudged("mine", ["new"], False, flow.pool)
    derive(store, derived)
    flow.finish()
    flow.accept({"prompt": "late", "id": "late"}, stream="mine")
    assert derive(store, derived).left_open == 1
    flow.finish()
    found = derive(store, derived)
    assert (found.added, found.present) == (1, PROMPTS)
    flow.finish(deliveries=2)
    assert len(rows(store, derived.name)) == 2 * (PROMPTS + 1)


def test_prompts_without_a_pair_are_left_out(store: Store) -> None:
    flow = run(store)
    flow.accept({"prompt": "x", "id": "same", "responses": {"a": "one text", "b": "one text"}}, stream="mine")
    flow.finish()
    found = derive(store, rejudged("mine", ["new"], False, flow.pool))
    assert (found.added, found.left_without_pair) == (PROMPTS, 1)


def test_pairs_that_a_judge_budget_labeled_are_judged_too(store: Store) -> None:
    flow = run(store, jury(judge_share=0.5))
    with store.transaction() as transaction:  # as if the budget had left one pair out
        connection = transaction.ledger.connection
        first = connection.execute(select(pairs.c.id).limit(1)).scalar_one()
        connection.execute(pairs.update().where(pairs.c.id == first).values(judged=0))
    derived = rejudged("mine", ["new"], False, flow.pool)
    derive(store, derived)
    flow.finish()
    assert judges_of(store, derived.name) == {"new": 4 * PROMPTS}


@pytest.mark.parametrize("teaches", [False, True])
def test_verdicts_teach_only_if_asked(store: Store, teaches: bool) -> None:
    flow = run(store)

    def learned() -> float:
        with store.reading() as transaction:
            return transaction.preferences.counted_verdicts()

    before = learned()
    assert before > 0
    derive(store, rejudged("mine", ["new"], teaches, flow.pool))
    flow.finish()
    assert (learned() > before) is teaches


def test_a_pair_says_whence_it_comes(store: Store) -> None:
    flow = run(store)
    derived = rejudged("mine", ["new"], False, flow.pool)
    derive(store, derived)
    flow.finish()
    with store.reading() as transaction:
        last = transaction.ledger.connection.execute(select(pairs.c.id).order_by(pairs.c.id.desc())).scalars().first()
    text = sentences(explain(store, last), 100)
    assert "No policy chose it: it is the pair " in text
    assert "chance of being drawn" not in text
    assert "of the stream mine, by the policy informative." in text


def test_an_unknown_judge_and_a_derived_base_are_refused(store: Store) -> None:
    with pytest.raises(SettingsError, match=r"--judge names 'nwe', which is no judge .did you mean 'new'"):
        rejudged("mine", ["nwe"], False, jury())
    with pytest.raises(SettingsError, match="derived itself"):
        rejudged("mine@kin", ["new"], False, jury())


def test_a_judge_that_is_no_longer_in_the_pool_stops_no_other_stream(store: Store) -> None:
    flow = run(store)
    derive(store, Derivation.rejudged("mine", ("gone",)))
    flow.accept({"prompt": "later", "id": "later"}, stream="mine")
    with pytest.raises(SettingsError, match="judged by gone, which the pool file of this worker does not name"):
        flow.finish()
