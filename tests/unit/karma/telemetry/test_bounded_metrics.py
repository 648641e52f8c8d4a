"""The list of metrics: documented, named by Prometheus' rules, and bounded whatever users name their streams."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs
from prometheus_client import REGISTRY, generate_latest
from sqlalchemy import insert

from karma.store.schema import prompts, streams
from karma.telemetry import metrics
from karma.telemetry.bounded_metrics import LIMITS, OTHER, Gauge
from karma_matching.pair_metrics import observe
from karma_monitor.prometheus import LedgerMetrics
from tests.support import needs
from tests.support.memory import make_pool
from tests.support.shown import all_metrics, count_series, forget_all, full_name, value
from tests.support.stores import memory
from tests.support.watched import WatchedFlow

DOCUMENT = Path(__file__).parents[4] / "docs" / "metrics.md"
NAMES = 3_000  # twenty times the highest limit
PROMPTS = 10_000


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    forget_all()
    yield
    forget_all()


def test_the_document_lists_every_metric_with_its_labels_and_meaning_and_no_other() -> None:
    rows = re.findall(r"^\| `((?:karma|gen_ai)_\w+)` \| (\w+) \| (.+?) \| (.+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    expected = {
        (
            full_name(metric),
            metric._type,
            ", ".join(f"`{label}`" for label in metric._labelnames) or "–",
            metric._documentation,
        )
        for metric in all_metrics()
    }
    assert set(rows) == expected
    assert len(rows) == len(expected)


def test_names_follow_the_rules_of_prometheus() -> None:
    for metric in all_metrics():
        name = full_name(metric)
        assert re.fullmatch(r"(karma|gen_ai_client)_[a-z_]+", name), name
        assert metric._documentation.endswith("."), name
        # Prometheus gives every series the labels of its target: a metric's own of that name would be renamed.
        assert not {"job", "instance", "service", "worker"} & set(metric._labelnames), name
        assert not {"prompt", "prompt_id", "pair", "text"} & set(metric._labelnames), name
        if metric._type == "counter":
            assert name.endswith("_total"), name
        else:
            assert not name.endswith(("_total", "_count", "_sum", "_bucket")), name


def test_promtool_finds_nothing_wrong_with_any_metric_once_it_has_a_value() -> None:
    promtool = needs.promtool()
    for metric in all_metrics():
        child = metric.labels(*("x" for _label in metric._labelnames)) if metric._labelnames else metric
        getattr(child, {"counter": "inc", "gauge": "set", "histogram": "observe"}[metric._type])(1)
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=generate_latest(REGISTRY), capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout.decode(), checked.stderr.decode()) == (0, "", "")


def test_a_gauge_without_labels_is_not_served_before_it_has_a_value() -> None:
    gauge = Gauge("karma_test_pages", "For this test.")
    assert "karma_test_pages" not in generate_latest(REGISTRY).decode()
    gauge.set(0)
    assert "karma_test_pages 0.0" in generate_latest(REGISTRY).decode()
    REGISTRY.unregister(gauge)


def test_beyond_a_limit_names_share_one_series_and_the_sum_stays_right() -> None:
    for n in range(NAMES):
        metrics.PAIRS_FLIPPED.labels(f"stream-{n}").inc()
    shown = {sample.labels["stream"]: sample.value for sample in metrics.PAIRS_FLIPPED.collect()[0].samples}
    assert len(shown) == LIMITS["stream"] + 1
    assert shown["stream-0"] == 1
    assert sum(shown.values()) == NAMES
    assert shown[OTHER] == NAMES - LIMITS["stream"]


def test_amounts_observed_together_are_the_same_as_one_by_one() -> None:
    amounts = [0.0, 0.1, 0.1000001, 0.39, 0.4, 4.8, 4.9, 100.0]
    metrics.PAIR_GAP.labels("together").observe_all(amounts)
    for amount in amounts:
        metrics.PAIR_GAP.labels("one by one").observe(amount)
    shown: dict[str, list[tuple[str, str | None, float]]] = {"together": [], "one by one": []}
    for sample in metrics.PAIR_GAP.collect()[0].samples:
        shown[sample.labels["stream"]].append((sample.name, sample.labels.get("le"), sample.value))
    assert shown["together"] == shown["one by one"]


def test_names_that_are_expected_keep_their_series_whatever_is_seen_first() -> None:
    metrics.expect(stream=["mine"])
    for n in range(NAMES):
        metrics.PAIRS_FLIPPED.labels(f"stream-{n}").inc()
    metrics.PAIRS_FLIPPED.labels("mine").inc(3)
    assert value("karma_pairs_flipped_total", stream="mine") == 3


def test_the_same_names_are_shown_by_every_metric() -> None:
    for n in range(LIMITS["stream"]):
        metrics.PAIRS_FLIPPED.labels(f"stream-{n}").inc()
    metrics.PAIRS.labels("late", "kin").inc()
    metrics.PAIRS.labels("stream-1", "kin").inc()
    assert value("karma_pairs_formed_total", stream="late", policy="kin") == 0
    assert value("karma_pairs_formed_total", stream="stream-1", policy="kin") == 1
    assert value("karma_pairs_formed_total", stream=OTHER, policy="kin") == 1


def test_amounts_of_names_that_share_a_series_are_added_up_and_what_is_gone_becomes_0() -> None:
    metrics.PROMPTS.show({(f"stream-{n}", "done"): 2 for n in range(100)})
    assert value("karma_ledger_prompts", stream=OTHER, state="done") == 2 * (100 - LIMITS["stream"])
    metrics.PROMPTS.show({("stream-3", "done"): 7})
    assert value("karma_ledger_prompts", stream="stream-3", state="done") == 7
    assert value("karma_ledger_prompts", stream="stream-4", state="done") == 0
    assert value("karma_ledger_prompts", stream=OTHER, state="done") == 0


def test_thousands_of_streams_and_prompts_leave_the_number_of_series_bounded() -> None:
    """Everything that scoring and matching show of a stream, and the ledger's totals of a store that holds them all."""
    flow = WatchedFlow(memory())
    flow.accept({"id": "p", "prompt": "Say red."})
    flow.finish()
    matched, learned = flow.matched[0], flow.learned[-1]

    def show(number: int) -> None:
        name = f"stream-{number}"
        observe(name, matched)
        flow.metrics.learned(replace(learned, stream=name, pairs=[replace(one, stream=name) for one in learned.pairs]))
        flow.metrics.scored(
            [structs.replace(one, model=f"model-{number}", failure=f"{number}: a text") for one in flow.scored[0]]
        )
        metrics.COMPETENCY_MEAN.labels(f"model-{number % 999}", f"skill-{number % 1001}").set(1)

    for number in range(1_000):
        show(number)
    after_a_tenth = count_series()
    for number in range(1_000, NAMES):
        show(number)
    assert count_series() - after_a_tenth < 5_000  # pairs of a model and a skill that are named for the first time
    assert count_series() < 25_000

    store = memory()
    with store.engine.connect() as connection, connection.begin():
        names = [f"stream-{number}" for number in range(PROMPTS)]
        connection.execute(insert(streams), [{"name": name, "created_at": 0} for name in names])
        row = {"prompt_id": "p", "content_hash": "", "messages": "[]", "priority": 0, "awaited": 0, "accepted_at": 0}
        connection.execute(insert(prompts), [{**row, "stream": name, "state": "accepted"} for name in names])
    before = count_series()
    LedgerMetrics(store, None, make_pool()).count()
    assert count_series() - before < 400
    in_store = [sample.value for sample in metrics.PROMPTS.collect()[0].samples]
    assert sum(in_store) == PROMPTS
