"""The ledger's totals: what a real Prometheus read from the gateway equals the store, also after workers were killed.

The workers' own counters never exceed them: what a killed worker had counted is gone with it, and nothing is counted
twice. The expected figures come from SQL of the test's own.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import create_engine, text

from karma.queue.heartbeats import WorkerInfo, workers
from karma.queue.redis import connect
from karma.store import Store
from karma.store.schema import EVERYTHING
from karma.store.spending import Budget
from karma_monitor.prometheus import LedgerMetrics
from tests.support import needs
from tests.support.endpoint import Behaviour, serve
from tests.support.feed import Feed
from tests.support.memory import Flow, make_pool
from tests.support.pipeline import Pipeline, wait_until
from tests.support.prometheus import Prometheus
from tests.support.prometheus import serve as serve_prometheus
from tests.support.shown import forget_all, value

PER_S = 20

#: What the gateway serves (an expression over one gateway) → the same in SQL.
TOTALS = {
    **{
        f'karma_ledger_prompts{{state="{state}"}}': f"SELECT count(*) FROM prompts WHERE state = '{state}'"
        for state in ("accepted", "dispatched", "answered", "matched", "done", "dead")
    },
    **{
        f'karma_ledger_resolutions{{outcome="{outcome}"}}': "SELECT count(*) FROM resolutions "
        f"WHERE outcome = '{outcome}'"
        for outcome in ("decisive", "tie", "inconsistent", "unscored")
    },
    'karma_ledger_resolutions{outcome="no_pair"}': "SELECT count(*) FROM prompts WHERE no_pair IS NOT NULL",
    'karma_ledger_responses{result="answered"}': "SELECT count(*) FROM responses WHERE failure IS NULL",
    'karma_ledger_responses{result="failed"}': "SELECT count(*) FROM responses WHERE failure IS NOT NULL",
    "karma_ledger_pairs": "SELECT count(*) FROM pairs",
    'karma_ledger_verdicts{result="valid"}': "SELECT count(*) FROM verdicts WHERE failure IS NULL",
    'karma_ledger_verdicts{result="failed"}': "SELECT count(*) FROM verdicts WHERE failure IS NOT NULL",
    'karma_ledger_preferences{source="judge"}': "SELECT count(*) FROM resolutions WHERE label_source = 'judge'",
    'karma_ledger_preferences{source="predicted"}': "SELECT count(*) FROM resolutions WHERE label_source = 'predicted'",
    "karma_ledger_open_items": "SELECT count(*) FROM work_items",
}

#: What workers count → what of the store it may not exceed.
COUNTED = {
    'karma_responses_total{result="answered"}': "SELECT count(*) FROM responses WHERE failure IS NULL",
    'karma_responses_total{result="failed"}': "SELECT count(*) FROM responses WHERE failure IS NOT NULL",
    "karma_failures_total": "SELECT (SELECT count(*) FROM responses WHERE failure IS NOT NULL) + "
    "(SELECT count(*) FROM verdicts WHERE failure IS NOT NULL)",
    "karma_pairs_formed_total": "SELECT count(*) FROM pairs",
    "karma_pairs_gated_total": "SELECT count(*) FROM pairs",
    'karma_pairs_gated_total{decision="judged"}': "SELECT count(*) FROM pairs WHERE judged = 1",
    'karma_verdicts_total{result="valid"}': "SELECT count(*) FROM verdicts WHERE failure IS NULL",
    'karma_verdicts_total{result="failed"}': "SELECT count(*) FROM verdicts WHERE failure IS NOT NULL",
    "karma_pairs_resolved_total": "SELECT count(*) FROM resolutions r JOIN pairs p ON p.id = r.pair WHERE p.judged = 1",
    'karma_preferences_total{source="judge"}': "SELECT count(*) FROM resolutions WHERE label_source = 'judge'",
    'karma_preferences_total{source="predicted"}': "SELECT count(*) FROM resolutions WHERE label_source = 'predicted'",
    "karma_prompts_ended_total": "SELECT count(*) FROM prompts WHERE state = 'done'",
    "karma_prompts_dispatched_total": "SELECT count(*) FROM prompts",
    "karma_pairs_flipped_total": "SELECT count(*) FROM resolutions WHERE flipped = 1",
    "karma_wins_total": "SELECT count(*) FROM resolutions WHERE label_source = 'judge'",
    'karma_tokens_total{kind="generate"}': "SELECT sum(tokens_in + tokens_out) FROM responses",
    "karma_cost_usd_total": "SELECT 1e-6 * ((SELECT sum(tokens_in + 4 * tokens_out) FROM responses WHERE model = 'red')"
    " + (SELECT sum(2 * tokens_in + 8 * tokens_out) FROM verdicts))",
}


def pool(url: str) -> str:
    """Two models, of which one has a price, and a judge with a price; every second pair or so is judged."""
    model = f'backend = "openai"\nbase_url = "{url}"\nmax_retries = 1\n'
    return (
        '[pipeline]\nclaim_silence_s = 4\n[stream]\ngoal = "label"\njudge_share = 0.6\n'
        f'[models.red]\nmodel = "red"\nprice = {{ input = 1, output = 4 }}\n{model}'
        f'[models.blue]\nmodel = "blue"\n{model}'
        '[judges.j]\nkind = "openai"\n'
        f'[judges.j.model]\nmodel = "judge"\nprice = {{ input = 2, output = 8 }}\n{model}'
    )


def counts_of(url: str, queries: Mapping[str, str]) -> dict[str, float]:
    """What the store says, in SQL."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        found = {what: float(connection.execute(text(query)).scalar_one() or 0) for what, query in queries.items()}
    engine.dispose()
    return found


@dataclass(frozen=True)
class Run:
    """A drained run and the Prometheus that scraped it from its first to its last moment."""

    pipeline: Pipeline
    prometheus: Prometheus
    database: str
    killed: list[WorkerInfo]
    seconds: int  # that it took

    def scraped(self, metric: str) -> float:
        """What the workers counted at the most, those that are gone included."""
        return self.prometheus.value(f"max_over_time({metric}[{self.seconds}s])")


def ready(pipeline: Pipeline, service: str) -> list[WorkerInfo]:
    redis = connect((pipeline.home / "run" / "redis.url").read_text())
    return [info for info in workers(redis) if info.service == service and info.state == "ready"]


def replace(pipeline: Pipeline, service: str) -> WorkerInfo:
    """Kill a worker in the middle of its work; returns once the supervisor's new one shows life."""
    old = ready(pipeline, service)[0]
    os.kill(old.pid, signal.SIGKILL)
    wait_until(lambda: any(info.pid != old.pid for info in ready(pipeline, service)), 60, f"another {service} is ready")
    return old


def run(folder: Path, seconds: float) -> Iterator[Run]:
    needs.prometheus()
    behaviour = Behaviour(latency_ms=10, rate_429=0.1, drop=0.05, unparsable=0.05, ties=0.1, position_bias=0.1, seed=5)
    with serve(behaviour) as endpoint:
        pipeline = Pipeline(folder / "home", pool(endpoint.url))
        database = f"sqlite:///{pipeline.home / 'karma.db'}"
        started = time.monotonic()
        with (
            pipeline.up(),
            serve_prometheus(folder / "prometheus", pipeline.home / "run" / "targets.json") as prometheus,
        ):
            wait_until(lambda: prometheus.value("count(up == 1)") >= 5, 60, "Prometheus scrapes the workers")
            with Feed(database, PER_S, most=int(seconds * PER_S)) as feed:
                killed = []
                for number, service in enumerate(("scoring", "gateway"), start=1):
                    due = number * seconds * PER_S / 3
                    wait_until(lambda due=due: feed.accepted >= due, 60 + seconds, "a third more is fed")
                    killed.append(replace(pipeline, service))
                feed.wait()
            pipeline.wait_for_end(feed.accepted, 240)
            yield Run(pipeline, prometheus, database, killed, int(time.monotonic() - started) + 30)


def check(run: Run) -> None:
    pipeline, prometheus = run.pipeline, run.prometheus
    expected = counts_of(run.database, TOTALS)
    assert expected['karma_ledger_prompts{state="done"}'] > 0

    def served() -> dict[str, float]:
        return {total: prometheus.value(total) for total in expected}

    wait_until(lambda: served() == expected, 60, f"the totals are\n{expected}\nbut Prometheus has\n{served()}")

    # Both were replaced, and Prometheus found the new ones; those that lived on were scraped all the time.
    seen = {
        sample.labels["worker"] for sample in prometheus.query(f"count by (worker) (max_over_time(up[{run.seconds}s]))")
    }
    assert {info.id for info in run.killed} < seen
    assert {info["id"] for info in pipeline.status()["workers"]} <= seen
    for service in ("matching", "judging", "generation"):
        assert prometheus.value(f'min_over_time(up{{service="{service}"}}[{run.seconds - 30}s])') == 1

    most = counts_of(run.database, COUNTED)
    for metric, limit in most.items():
        counted = run.scraped(metric)
        assert counted <= limit + 1e-9, f"{metric}: workers counted {counted} of {limit}"
    for metric in ("karma_pairs_formed_total", 'karma_responses_total{result="answered"}', "karma_cost_usd_total"):
        assert run.scraped(metric) > 0.3 * most[metric], (
            f"{metric}: workers counted {run.scraped(metric)} of {most[metric]}"
        )
    assert run.scraped('karma_call_attempts_total{result="rate_limited"}') > 0
    assert prometheus.value('karma_calls_unpriced_total{name="blue",lacks="price"}') > 0
    assert prometheus.value('karma_calls_unpriced_total{name="red"}') == 0


def test_totals_equal_the_store_after_a_drain_with_two_workers_killed_and_workers_never_count_more(
    tmp_path: Path,
) -> None:
    for one in run(tmp_path, 9):
        check(one)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_totals_equal_the_store_after_two_minutes_with_two_workers_killed(tmp_path: Path) -> None:
    for one in run(tmp_path, 120):
        check(one)


def test_totals_are_exact_on_each_database_at_any_moment(store: Store) -> None:
    """Prompts in every state, and the totals right after each step."""
    forget_all()
    flow = Flow(store, make_pool("ab"))
    metrics = LedgerMetrics(store, None, flow.pool)
    url = store.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")

    def agree() -> None:
        metrics.count()
        metrics.read_store()
        for total, expected in counts_of(url, TOTALS).items():
            assert total_shown(total) == expected, total

    agree()
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(40)))
    flow.accept({"id": "other", "prompt": "Say no."}, stream="another")
    agree()
    flow.dispatcher.admit()
    agree()
    for place, batch in enumerate(flow.messages()):
        flow.handle(flow.answer(batch, failure="429: rate limited" if place else None))  # type: ignore[arg-type]
        agree()
    flow.finish()
    agree()
    assert value("karma_ledger_prompts", stream="default", state="done") == 40
    assert value("karma_ledger_prompts", stream="another", state="done") == 1
    assert value("karma_ledger_resolutions", outcome="no_pair") == 41
    assert value("karma_store_size_bytes") > 10_000


def total_shown(expression: str) -> float:
    """The sum of a gauge's series in this process that carry the labels of an expression."""
    name, _, rest = expression.partition("{")
    label, _, wanted = rest.rstrip("}").partition("=")
    samples = (sample for family in REGISTRY.collect() for sample in family.samples if sample.name == name)
    return sum(one.value for one in samples if not label or one.labels[label] == wanted.strip('"'))


def test_judge_calls_of_the_last_hour_stand_beside_their_limit_and_only_where_there_is_one(store: Store) -> None:
    forget_all()
    limited = make_pool("ab", streams={"limited": {"judge_calls_per_hour": 100.0}})
    flow = Flow(store, limited)
    for stream in ("limited", "free"):
        flow.accept(*({"prompt": f"{stream} {number}"} for number in range(3)), stream=stream)
    flow.finish()
    LedgerMetrics(store, None, limited).read_store()
    assert shown("karma_judge_calls_last_hour") == {"limited": 6.0}
    assert shown("karma_judge_calls_hourly_limit") == {"limited": 100.0}
    LedgerMetrics(store, None, make_pool("ab")).read_store()
    assert shown("karma_judge_calls_last_hour") == shown("karma_judge_calls_hourly_limit") == {}


def test_a_budget_stands_beside_what_is_spent_of_it(store: Store) -> None:
    forget_all()
    flow = Flow(store, make_pool("ab"))
    flow.accept({"prompt": "Hello"}, stream="cheap")
    flow.finish()
    with store.transaction() as transaction:
        transaction.spending.set_budgets({"cheap": Budget(2.5, None), EVERYTHING: Budget(None, 10.0)})
    LedgerMetrics(store, None, make_pool("ab")).read_store()
    amounts = {
        (stream, period, of): value("karma_budget_usd", stream=stream, period=period, of=of)
        for stream, period, of in (
            ("cheap", "total", "limit"),
            ("cheap", "total", "spent"),
            (EVERYTHING, "day", "limit"),
        )
    }
    assert amounts == {
        ("cheap", "total", "limit"): 2.5,
        ("cheap", "total", "spent"): 0.0,
        (EVERYTHING, "day", "limit"): 10.0,
    }


def shown(name: str) -> dict[str, float]:
    """The values of a metric by stream."""
    return {
        one.labels["stream"]: one.value
        for family in REGISTRY._names_to_collectors[name].collect()
        for one in family.samples
    }
