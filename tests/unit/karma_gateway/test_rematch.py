"""Rematch on the real schema and handlers: stored responses, new pairs, nothing generated and nothing touched."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

from karma.config.derived_streams import Derivation
from karma.errors import SettingsError
from karma.messages import GenerateBatch
from karma.store.schema import competency_counts, pairs, prompts, responses
from karma_gateway.rematch import derivations, derive
from karma_monitor.figures.quality import default_margin
from karma_monitor.figures.rematch import compare
from tests.support.memory import Flow, make_pool
from tests.support.stores import memory

RANDOM, KIN = Derivation("mine", "random"), Derivation("mine", "kin")


@pytest.fixture
def flow() -> Flow:
    """Ten prompts of the stream `mine`, each answered by three models and ended."""
    store = memory()
    flow = Flow(store, make_pool("abc", streams={"mine": {"responses_per_prompt": 0}}))
    flow.accept(*({"prompt": f"prompt {n}", "id": f"p{n}", "skill": "talk"} for n in range(10)), stream="mine")
    flow.finish()
    return flow


def rows(flow: Flow, stream: str) -> dict[str, object]:
    """What the store holds of a stream, by the prompts' ids."""
    with flow.store.reading() as transaction:
        query = (
            select(prompts.c.prompt_id, prompts.c.state, prompts.c.skill, responses.c.model, responses.c.text)
            .join(responses, responses.c.prompt == prompts.c.id)
            .where(prompts.c.stream == stream)
            .order_by(prompts.c.prompt_id, responses.c.model)
        )
        return [tuple(row) for row in transaction.ledger.connection.execute(query)]


def count(flow: Flow, table: object) -> int:
    with flow.store.reading() as transaction:
        return transaction.ledger.connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_a_derived_stream_ends_with_its_bases_responses_and_pairs_of_its_own(flow: Flow) -> None:
    before = rows(flow, "mine")
    found = derive(flow.store, RANDOM)
    assert (found.added, found.present, found.left_open, found.left_too_few) == (10, 0, 0, 0)
    flow.finish()
    assert rows(flow, "mine@random") == before
    assert rows(flow, "mine") == before
    figures = compare(flow.store, [RANDOM], default_margin)["mine@random"]
    assert (figures["prompts"], figures["pairs"], figures["judge_calls"]) == (10, 10, 20)
    assert count(flow, pairs) == 20


def test_nothing_is_generated_again(flow: Flow) -> None:
    derive(flow.store, RANDOM)
    flow.dispatcher.admit()
    assert not [message for message in flow.messages() if isinstance(message, GenerateBatch)]


def test_the_same_rematch_again_adds_nothing(flow: Flow) -> None:
    derive(flow.store, KIN)
    flow.finish()
    before = rows(flow, "mine@kin")
    assert derive(flow.store, KIN).present == 10
    flow.finish()
    assert rows(flow, "mine@kin") == before
    with flow.store.reading() as transaction:
        assert transaction.ledger.count_states(["mine@kin"])["done"] == 10


def test_failed_responses_are_left_out_and_prompts_with_too_few_too(flow: Flow) -> None:
    with flow.store.transaction() as transaction:
        connection = transaction.ledger.connection
        first, second = connection.execute(select(prompts.c.id).order_by(prompts.c.id).limit(2)).scalars()
        failed = {"text": None, "failure": "timed out"}
        connection.execute(
            update(responses).where(responses.c.prompt == first, responses.c.model == "a").values(failed)
        )
        connection.execute(
            update(responses).where(responses.c.prompt == second, responses.c.model != "a").values(failed)
        )
    found = derive(flow.store, RANDOM)
    assert (found.added, found.left_too_few) == (9, 1)
    flow.finish()
    models = [row[3] for row in rows(flow, "mine@random") if row[0] == "p0"]
    assert models == ["b", "c"]


def test_prompts_whose_answers_may_still_come_are_left_for_later(flow: Flow) -> None:
    flow.accept({"prompt": "late", "id": "late"}, stream="mine")
    assert derive(flow.store, RANDOM).left_open == 1
    flow.finish()
    found = derive(flow.store, RANDOM)
    assert (found.added, found.present, found.left_open) == (1, 10, 0)


def test_pairs_a_prompt_can_be_other_than_the_bases(flow: Flow) -> None:
    (derived,) = derivations("mine", ["all-pairs"], 0, False)
    derive(flow.store, derived)
    flow.finish()
    assert compare(flow.store, [derived], default_margin)[derived.name]["pairs"] == 30


def test_prompts_that_a_policy_cannot_pair_count_in_its_yield(flow: Flow) -> None:
    own = Derivation("mine", "self")
    derive(flow.store, own)
    flow.finish()
    figures = compare(flow.store, [own], default_margin)["mine@self"]
    assert (figures["prompts"], figures["without_pair"], figures["decisive_per_prompt"]) == (10, 10, 0.0)
    assert figures["decisive_per_call"] is None


def test_an_unknown_policy_and_an_empty_stream_are_refused_with_what_there_is(flow: Flow) -> None:
    with pytest.raises(SettingsError, match=r"no policy is called 'kinn' .did you mean 'kin'"):
        derivations("mine", ["kinn"], None, False)
    with pytest.raises(SettingsError, match="'yours' holds no prompt; known streams: mine"):
        derive(flow.store, Derivation("yours", "kin"))
    with pytest.raises(SettingsError, match="derived itself"):
        derivations("mine@kin", ["random"], None, False)


@pytest.mark.parametrize("teaches", [False, True])
def test_verdicts_teach_only_if_asked(flow: Flow, teaches: bool) -> None:
    def learned() -> float:
        with flow.store.reading() as transaction:
            return transaction.preferences.counted_verdicts()

    before = learned()
    assert before > 0
    (derived,) = derivations("mine", ["random"], None, teaches)
    derive(flow.store, derived)
    flow.finish()
    assert (learned() > before) is teaches
    assert count(flow, competency_counts) > 0


def test_a_derived_prompt_keeps_its_metadata() -> None:
    flow = Flow(memory(), make_pool("abc", streams={"mine": {"responses_per_prompt": 0}}))
    flow.accept({"prompt": "one", "source": "web"}, stream="mine")
    flow.finish()
    derive(flow.store, RANDOM)
    with flow.store.reading() as transaction:
        kept = list(transaction.ledger.connection.execute(select(prompts.c.stream, prompts.c.metadata)))
    assert kept == [("mine", '{"source": "web"}'), ("mine@random", '{"source": "web"}')]
