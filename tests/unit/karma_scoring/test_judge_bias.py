"""What scoring shows: every figure from verdicts whose answer is known beforehand, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace as with_fields

from karma.config.pool import Pool
from karma.messages import GenerateBatch, JudgeBatch, LearnBatch, ScoreBatch
from karma.ranking.snapshot import Snapshot
from karma.ranking.snapshot_archive import from_bytes, to_bytes
from karma_scoring.fit.judges.own_models import other_judges, own_models
from karma_scoring.fit.refit import Refitter
from tests.support.memory import ENDPOINT, make_pool
from tests.support.shown import forget_all, value
from tests.support.stores import memory
from tests.support.watched import WatchedFlow

PRICE = {"input": 2.0, "output": 6.0}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    forget_all()
    yield
    forget_all()


def flow_of(
    pool: Pool | None = None,
    prompts: int = 1,
    texts: Mapping[str, str] | None = None,
    snapshot: Snapshot | None = None,
) -> WatchedFlow:
    """Prompts that models have answered and matching has paired; the judges are to be asked."""
    store = memory()
    flow = WatchedFlow(store, pool or make_pool("ab"))
    flow.snapshot = snapshot or flow.snapshot
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(prompts)))
    flow.dispatcher.admit()
    for batch in flow.messages():
        assert isinstance(batch, GenerateBatch)
        flow.handle(flow.answer(batch, texts[batch.model] if texts else None))
    for batch in flow.messages():
        flow.handle(batch)
    return flow


def judge(flow: WatchedFlow, **favours: str) -> None:
    """Each judge named takes the side it favours in every pair: first, second, longer, a model's name, or none."""
    for batch in flow.messages():
        assert isinstance(batch, JudgeBatch)
        favoured = favours[batch.judge]
        verdicts = flow.judge(batch).items
        for item, verdict in zip(batch.items, verdicts, strict=True):
            first_is_favoured = {
                "first": True,
                "second": False,
                "longer": len(item.first) > len(item.second),
            }.get(favoured, item.first.startswith(f"{favoured} says"))
            probability = 0.5 if favoured == "none" else 0.9 if first_is_favoured else 0.1
            one = LearnBatch(header=batch.header, items=(with_fields(verdict, probability=probability),))
            flow.handle(one)


def two_judges(**more: object) -> Pool:
    model = {**ENDPOINT, "model": "j"}
    judges = {name: {"kind": "openai", "model": model} for name in ("j", "k")}
    return make_pool("ab", judges=judges, **more)


def test_what_comes_a_second_time_is_counted_once() -> None:
    store = memory()
    flow = WatchedFlow(store, make_pool("ab"))
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(20)))
    flow.finish(deliveries=3)
    assert value("karma_responses_total", model="a", result="answered") == 20
    assert value("karma_pairs_formed_total", stream="default", policy="informative") == 20
    assert value("karma_verdicts_total", judge="j", result="valid") == 40
    assert value("karma_pairs_resolved_total", stream="default", outcome="decisive") == 20
    assert value("karma_preferences_total", stream="default", source="judge") == 20
    assert value("karma_prompts_ended_total", stream="default", end="paired") == 20


def test_a_judge_that_prefers_the_first_place_is_seen_by_its_places_and_flips() -> None:
    judge(flow_of(prompts=5), j="first")
    assert value("karma_verdicts_first_position_total", judge="j", place="first") == 10
    assert value("karma_verdicts_first_position_total", judge="j", place="second") == 0
    assert value("karma_judge_orders_total", judge="j", flipped="yes") == 5
    assert value("karma_pairs_flipped_total", stream="default") == 5
    assert value("karma_pairs_resolved_total", stream="default", outcome="inconsistent") == 5


def test_a_judge_that_is_shown_one_order_says_nothing_about_places() -> None:
    judge(flow_of(make_pool("ab", both_orders=False), prompts=5), j="first")
    assert value("karma_verdicts_total", judge="j", result="valid") == 5
    assert value("karma_verdicts_first_position_total", judge="j", place="first") == 0
    assert value("karma_pairs_judged_both_orders_total", stream="default") == 0


def expecting(chance_of_a: float) -> Snapshot:
    """Competencies by which `a` beats `b` with this chance."""
    cold = Snapshot.empty(["a", "b"])
    win = np.full(cold.win.shape, 0.5)
    win[0, 0, 1], win[0, 1, 0] = chance_of_a, 1 - chance_of_a
    return replace(cold, win=win)


def test_wins_of_the_longer_response_stand_beside_what_competency_says() -> None:
    texts = {"a": "a says a great deal more than is asked of it", "b": "b says little"}
    judge(flow_of(prompts=4, texts=texts, snapshot=expecting(0.8)), j="longer")
    assert value("karma_preferences_by_length_total", stream="default", chosen="longer") == 4
    assert value("karma_preferences_longer_expected_total", stream="default") == pytest.approx(3.2)
    assert value("karma_preferences_longer_variance_total", stream="default") == pytest.approx(4 * 0.8 * 0.2)
    assert value("karma_verdicts_by_length_total", judge="j", chosen="longer") == 8
    assert value("karma_verdicts_longer_expected_total", judge="j") == pytest.approx(6.4)
    assert value("karma_wins_total", winner="a", loser="b") == 4


def test_what_is_expected_of_the_longer_response_is_not_its_chance_where_it_is_the_weaker_one() -> None:
    texts = {"a": "a says little", "b": "b says a great deal more than is asked of it"}
    judge(flow_of(prompts=4, texts=texts, snapshot=expecting(0.8)), j="a")
    assert value("karma_preferences_by_length_total", stream="default", chosen="shorter") == 4
    assert value("karma_preferences_longer_expected_total", stream="default") == pytest.approx(0.8)


def test_responses_of_equal_length_are_expected_to_do_nothing() -> None:
    judge(flow_of(prompts=3, texts={"a": "a says", "b": "b says"}), j="a")
    assert value("karma_preferences_by_length_total", stream="default", chosen="equal") == 3
    assert value("karma_preferences_longer_expected_total", stream="default") == 0


def test_a_judge_of_a_models_own_kind_is_known_by_its_endpoint() -> None:
    judges = {"j": {"kind": "openai", "model": {**ENDPOINT, "model": "a"}}, "rule": {"kind": "prior"}}
    pool = make_pool("abc", judges=judges)
    assert own_models(pool) == {"j": frozenset("a")}


def test_a_refit_measures_judges_of_their_own_models_and_no_others() -> None:
    own = {"kind": "openai", "model": {**ENDPOINT, "model": "a"}}
    other = {"kind": "openai", "model": {**ENDPOINT, "model": "k"}}
    pool = make_pool("ab", judges={"j": own, "k": other})
    flow = flow_of(pool, prompts=5)
    judge(flow, j="a", k="b")
    snapshot = Refitter(flow.store, pool).refit(1)
    assert set(snapshot.self_preference) == {"j"}
    assert snapshot.self_preference["j"].verdicts == 5
    assert "too few verdicts" in (snapshot.self_preference["j"].unknown or "")
    assert from_bytes(to_bytes(snapshot)).self_preference == snapshot.self_preference


def test_a_judge_that_reads_no_responses_is_nobody_to_compare_with() -> None:
    """It repeats the competencies."""
    own = {"kind": "openai", "model": {**ENDPOINT, "model": "a"}}
    judges = {"j": own, "twin": own, "k": {**own, "model": {**ENDPOINT, "model": "k"}}, "rule": {"kind": "prior"}}
    assert other_judges(make_pool("ab", judges=judges), {"a"}) == {"k"}


@pytest.mark.parametrize(("second", "agrees"), [("a", "yes"), ("b", "no")])
def test_judges_are_held_against_each_other(second: str, agrees: str) -> None:
    judge(flow_of(two_judges(), prompts=5), j="a", k=second)
    assert value("karma_pairs_by_agreement_total", stream="default", agrees=agrees) == 5
    assert value("karma_judges_compared_total", stream="default", agrees=agrees) == 5
    assert value("karma_judge_agreements_total", judge="j", agrees=agrees) == 5


def test_a_judge_that_takes_no_side_agrees_and_disagrees_with_nobody() -> None:
    judge(flow_of(two_judges(), prompts=5), j="a", k="none")
    assert value("karma_pairs_by_agreement_total", stream="default", agrees="yes") == 0
    assert value("karma_pairs_by_agreement_total", stream="default", agrees="no") == 0
    assert value("karma_pairs_resolved_total", stream="default", outcome="decisive") == 5


def answered(pool: Pool, tokens_in: int | None, tokens_out: int | None, failure: str | None = None) -> None:
    store = memory()
    flow = WatchedFlow(store, pool)
    flow.accept({"id": "p", "prompt": "Say red."})
    flow.dispatcher.admit()
    for batch in flow.messages():
        assert isinstance(batch, GenerateBatch)
        answers = flow.answer(batch, failure=failure).items
        measured = [with_fields(one, tokens_in=tokens_in, tokens_out=tokens_out, latency_s=0.5) for one in answers]
        flow.handle(ScoreBatch(header=batch.header, items=tuple(measured)))


def priced() -> Pool:
    models = {"a": {**ENDPOINT, "model": "a", "price": PRICE}, "b": {**ENDPOINT, "model": "b"}}
    return Pool.from_tables({"models": models, "judges": {"j": {"kind": "prior"}}}, Path("pool.toml"))


def test_cost_is_tokens_by_the_price_of_the_pool_file() -> None:
    answered(priced(), 1000, 500)
    assert value("karma_cost_usd_total", kind="generate", name="a") == pytest.approx((2.0 * 1000 + 6.0 * 500) / 1e6)
    assert value("karma_tokens_total", kind="generate", name="a", direction="out") == 500
    assert value("karma_calls_unpriced_total", kind="generate", name="a", lacks="price") == 0


def test_without_a_price_there_is_no_cost_but_a_call_whose_cost_is_unknown() -> None:
    from prometheus_client import REGISTRY

    answered(priced(), 1000, 500)
    assert REGISTRY.get_sample_value("karma_cost_usd_total", {"kind": "generate", "name": "b"}) is None
    assert value("karma_calls_unpriced_total", kind="generate", name="b", lacks="price") == 1


def test_a_priced_endpoint_that_says_no_tokens_leaves_the_cost_unknown() -> None:
    answered(priced(), None, None)
    assert value("karma_cost_usd_total", kind="generate", name="a") == 0
    assert value("karma_calls_unpriced_total", kind="generate", name="a", lacks="tokens") == 1


def test_a_call_that_failed_without_tokens_is_counted_as_failed_and_costs_nothing() -> None:
    answered(priced(), None, None, failure="429: rate limited after 5 retries")
    assert value("karma_responses_total", model="a", result="failed") == 1
    assert value("karma_failures_total", kind="generate", name="a", reason="rate_limited") == 1
    assert value("karma_calls_unpriced_total", kind="generate", name="a", lacks="tokens") == 0


def test_given_responses_are_no_calls() -> None:
    store = memory()
    flow = WatchedFlow(store, priced())
    flow.accept({"id": "p", "prompt": "Say red.", "responses": {"a": "red", "b": "no"}})
    flow.dispatcher.admit()
    for batch in flow.messages():
        flow.handle(batch)
    assert value("karma_responses_total", model="a", result="answered") == 1
    assert value("karma_calls_unpriced_total", kind="generate", name="a", lacks="tokens") == 0
    assert value("karma_calls_unpriced_total", kind="generate", name="b", lacks="price") == 0


def test_prompts_without_a_pair_are_counted_with_the_reason() -> None:
    store = memory()
    flow = WatchedFlow(store, make_pool("ab"))
    flow.accept({"id": "p", "prompt": "Say red."})
    flow.dispatcher.admit()
    for batch in flow.messages():
        assert isinstance(batch, GenerateBatch)
        flow.handle(flow.answer(batch, failure="500: server error"))
    for batch in flow.messages():
        flow.handle(batch)
    assert value("karma_prompts_ended_total", stream="default", end="no_pair") == 1
    assert value("karma_prompts_unpaired_total", stream="default", reason="fewer than two usable answers") == 1
