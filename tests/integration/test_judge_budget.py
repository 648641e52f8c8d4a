"""Streams with a judge budget on real databases: every pair gets one label, and the ledger stays exact."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from karma.ranking.label_limit import EVERY_PAIR, LabelLimit
from karma.ranking.outcome_model import FEATURES, OutcomeModel, ResponseEffects
from karma.ranking.snapshot import Snapshot
from karma.store import Store
from karma.store.export_filter import ExportFilter
from karma.store.schema import competency_counts, gates, pairs, prompts, resolutions, verdicts
from karma_gateway import exports
from karma_scoring.fit.predictions.judge_budget import BudgetInputReader, examples_of
from tests.support.memory import Flow, make_pool
from tests.support.verifier import assert_exact

PROMPTS = 120
OUTCOME = OutcomeModel(1.0, (0.3,) * len(FEATURES), {}, 0.5, ResponseEffects(6.0, 1.5, 2.0), 500, 0.01)


def flow_of(store: Store, outcome: OutcomeModel | None, share: float = 0.4, **stream: object) -> Flow:
    settings = {"policy": "all-pairs", "pairs_per_prompt": 0, "responses_per_prompt": 0, "judge_share": share}
    flow = Flow(store, make_pool("abcd", stream={**settings, **stream}))
    flow.snapshot = replace(Snapshot.empty(), outcome=outcome)
    return flow


def rows_of(store: Store) -> list:
    with store.engine.connect() as connection:
        query = select(pairs, resolutions).join(resolutions, resolutions.c.pair == pairs.c.id).order_by(pairs.c.id)
        return list(connection.execute(query))


@pytest.mark.parametrize("deliveries", [1, 2])
def test_every_pair_gets_one_label_and_the_share_is_kept(store: Store, deliveries: int) -> None:
    flow = flow_of(store, OUTCOME)
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(PROMPTS)))
    flow.finish(deliveries)
    assert_exact(store.engine.url.render_as_string(hide_password=False), PROMPTS)
    rows = rows_of(store)
    assert len(rows) == 6 * PROMPTS
    judged = [row for row in rows if row.judged]
    assert len(judged) / len(rows) == pytest.approx(0.4, abs=0.08)
    for row in rows:
        assert 0 < row.judged_probability <= 1
        assert row.outcome in ("decisive", "tie")
        if not row.judged:
            assert row.label_source == "predicted"
            assert row.chosen in (row.response_a, row.response_b)
            assert row.probability == row.predicted_1
            assert (row.chosen == row.response_a) == (row.probability > 0.5)
    with store.engine.connect() as connection:
        judged_by_verdict = set(connection.execute(select(verdicts.c.pair)).scalars())
        kept = connection.execute(select(gates)).one()
    assert judged_by_verdict == {row.id for row in judged}
    assert (kept.seen, kept.judged) == (len(rows), len(judged))


def test_audited_pairs_tell_the_error_of_the_labels(store: Store) -> None:
    flow = flow_of(store, OUTCOME, audit_share=0.3)
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(PROMPTS)))
    flow.finish()
    audited = [row for row in rows_of(store) if row.judged and row.judged_probability < 1 and row.outcome == "decisive"]
    assert audited
    assert all(row.predicted_1 is not None for row in audited)
    with store.reading() as transaction:
        gated = BudgetInputReader().read(transaction, 1.0)
    found = gated.audits["default"]
    assert found.audited == len(audited)
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    with store.engine.connect() as connection:
        weight = sum(row.wins_a + row.wins_b + row.ties for row in connection.execute(select(competency_counts)))
        squares = sum(row.squares for row in connection.execute(select(competency_counts)))
    judged = [row for row in rows_of(store) if row.judged]
    with store.reading() as transaction:
        weights = transaction.preferences.prompt_weights({row.prompt for row in judged})
    counted = [weights[row.prompt].of(row.judged_probability) for row in judged]
    assert weight == pytest.approx(sum(weight for weight, _ in counted))
    assert squares == pytest.approx(sum(square for _, square in counted))
    assert {each.formed for each in weights.values()} == {0.5}  # six pairs of four answers are three comparisons


def test_a_limit_on_the_label_error_judges_all_until_a_ceiling_is_known(store: Store) -> None:
    """The pairs are recorded with the labels that they would have had; the refit reads them."""
    flow = flow_of(store, OUTCOME, max_label_error=0.1)
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(PROMPTS)))
    flow.finish()
    rows = rows_of(store)
    assert all(row.judged and row.judged_probability == 1.0 for row in rows)
    assert '"gate": "the label might be wrong"' in "".join(row.reasons for row in rows)

    with store.reading() as transaction:
        unlimited = BudgetInputReader().read(transaction, 1.0)
        limited = BudgetInputReader(max_label_error=lambda _stream: 0.1).read(transaction, 1.0).label_limits["default"]
        pairs_read = transaction.judge_budgets.calibrating("default", 10_000)

    assert unlimited.label_limits == {}
    decisive = [row for row in rows if row.outcome == "decisive"]
    wrong = [(row.predicted > 0.5) != (row.chosen == row.response_a) for row in decisive]
    assert [row[:3] for row in pairs_read] == [
        (1.0, error, row.prompt) for error, row in zip(wrong[::-1], decisive[::-1], strict=True)
    ]
    assert limited.judged == len(decisive)
    assert limited.reason()


def test_pairs_up_to_the_ceiling_are_left_to_the_budget(store: Store) -> None:
    flow = flow_of(store, OUTCOME, max_label_error=0.1)
    known = {"default": LabelLimit(0.1, EVERY_PAIR, 1.0, 0.02, 0.05, 500, 0)}
    flow.snapshot = replace(flow.snapshot, label_limits=known)
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(PROMPTS)))
    flow.finish()

    assert sum(row.judged for row in rows_of(store)) / (6 * PROMPTS) == pytest.approx(0.4, abs=0.08)


def test_before_anything_is_learned_all_is_judged_and_kept_to_learn_from(store: Store) -> None:
    flow = flow_of(store, None, share=0.1)
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(50)))
    flow.finish()
    rows = rows_of(store)
    assert all(row.judged and row.judged_probability == 1 for row in rows)
    with store.reading() as transaction:
        gated = BudgetInputReader().read(transaction, 1.0)
    assert gated.examples is not None
    examples = examples_of(gated.examples, Snapshot.empty(), {})
    assert len(examples) == 300
    assert examples.relative_features.shape == (300, len(FEATURES))
    learned = gated.outcome(Snapshot.empty(), {})
    assert learned is not None
    assert learned.examples == 300


@pytest.mark.parametrize("outcome", [None, OUTCOME])
def test_an_hourly_limit_holds_and_every_pair_gets_one_label(store: Store, outcome: OutcomeModel | None) -> None:
    """50 prompts of six pairs at once, and 10 calls for pairs of two calls each."""
    flow = flow_of(store, outcome, share=1.0, judge_calls_per_hour=10.0)
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(50)))
    flow.finish()
    assert_exact(store.engine.url.render_as_string(hide_password=False), 50)
    rows = rows_of(store)
    judged = [row for row in rows if row.judged]
    assert 1 <= len(judged) <= 5
    assert all(0.0 < row.judged_probability <= 1.0 for row in judged)
    assert all(row.label_source == "predicted" for row in rows if not row.judged)
    with store.reading() as transaction:
        weights = transaction.preferences.prompt_weights({row.prompt for row in judged})
        counted = [weights[row.prompt].of(row.judged_probability)[0] for row in judged]
    with store.engine.connect() as connection:
        counts = connection.execute(select(competency_counts)).all()
    assert sum(row.wins_a + row.wins_b + row.ties for row in counts) == pytest.approx(sum(counted))


def test_a_prompt_of_which_nothing_is_judged_ends_at_once(store: Store) -> None:
    flow = flow_of(store, OUTCOME, share=0.02, pairs_per_prompt=1, audit_share=0.001)
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(PROMPTS)))
    flow.finish()
    assert_exact(store.engine.url.render_as_string(hide_password=False), PROMPTS)
    assert any(not row.judged for row in rows_of(store))
    with store.engine.connect() as connection:
        assert set(connection.execute(select(prompts.c.state)).scalars()) == {"done"}


def test_without_a_budget_there_is_no_gate(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept({"id": "p", "prompt": "x"})
    flow.finish()
    with store.engine.connect() as connection:
        assert connection.execute(select(gates)).all() == []
        assert connection.execute(select(pairs.c.predicted)).scalars().all() == [None]


def test_exports_can_be_held_to_one_label_source_and_to_sure_labels(store: Store) -> None:
    flow = flow_of(store, OUTCOME)
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(PROMPTS)))
    flow.finish()
    everything = [row["karma"] for row in exports.rows(store, "jsonl")]
    for source in ("judge", "predicted"):
        found = [row["karma"] for row in exports.rows(store, "jsonl", ExportFilter(label_source=source))]
        assert found == [row for row in everything if row["label_source"] == source] != []
    sure = [row["karma"] for row in exports.rows(store, "jsonl", ExportFilter(least_probability=0.8))]
    assert sure == [row for row in everything if row["probability"] >= 0.8] != everything


def test_predicted_labels_that_are_too_uncertain_are_left_out_and_judged_ones_stay(store: Store) -> None:
    """Here a fifth of the verdicts between equals are ties: they make a prediction less certain."""
    flow = flow_of(store, OUTCOME)
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(PROMPTS)))
    flow.finish()
    tie = {row.id: row.predicted_tie for row in rows_of(store)}
    everything = [row["karma"] for row in exports.rows(store, "jsonl")]
    kept = ExportFilter(least_predicted=0.6)

    found = [row["karma"] for row in exports.rows(store, "jsonl", kept)]

    certain = [
        row["label_source"] == "judge" or (1 - tie[row["pair"]]) * row["probability"] >= 0.6 for row in everything
    ]
    assert found == [row for row, keep in zip(everything, certain, strict=True) if keep] != everything
    for row in everything:
        judged = row["label_source"] == "judge"
        assert row["tie_probability"] == (None if judged else pytest.approx(tie[row["pair"]])), "a row repeats the rule"
    with store.reading() as transaction:
        assert transaction.preferences.uncertain_labels(kept) == certain.count(False)
    assert exports.expected(store, kept) is None
    assert exports.expected(store, ExportFilter(label_source="judge", least_predicted=0.6)) is not None
