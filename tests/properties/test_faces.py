"""Every face says the same number for the same verdicts: resolution, metrics, page, watch, report, status, export.

The numbers are worked out here once more, by brute force from the verdicts as they are stored.
"""

from __future__ import annotations

import io
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import combinations
from statistics import fmean, median
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as with_fields
from rich.console import Console
from sqlalchemy import select

from karma.config.pool import Pool
from karma.messages import GenerateBatch, JudgeBatch, LearnBatch
from karma.store import Store
from karma.store.schema import pairs, resolutions, responses, verdicts
from karma_cli.terminal import panels
from karma_gateway import exports
from karma_monitor.live_status import LiveStatus
from karma_monitor.page.quality import QualityView
from karma_monitor.prometheus import LedgerMetrics
from karma_monitor.report import collect
from karma_monitor.status import status
from tests.support.memory import ENDPOINT, make_pool
from tests.support.shown import forget_all, value
from tests.support.stores import emptied_memory
from tests.support.watched import WatchedFlow

JUDGES = ("i", "j", "k")
STREAM = "s"

#: P(the response shown first is better); None: the verdict fails. Values at and around every margin.
PROBABILITIES = st.sampled_from([None, 0.0, 0.05, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.62, 0.7, 0.95, 1.0])
MARGINS = st.sampled_from([0.0, 0.05, 0.2, 0.45])
LENGTHS = st.integers(1, 40)


def pool_of(margin: float) -> Pool:
    model = {**ENDPOINT, "model": "judge"}
    judges: dict[str, Any] = {name: {"kind": "openai", "model": model} for name in JUDGES}
    judges["k"]["both_orders"] = False
    stream = {"tie_margin": margin, "policy": "random", "explore_share": 0.0}
    return make_pool("ab", judges=judges, streams={STREAM: stream})


def run(store: Store, pool: Pool, lengths: list[tuple[int, int]], said: list[float | None]) -> WatchedFlow:
    """A stream that is judged to its end; the verdicts are those in `said`, again and again."""
    flow = WatchedFlow(store, pool)
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(len(lengths))), stream=STREAM)
    flow.dispatcher.admit()
    number = 0
    while flow.sent:
        for batch in flow.messages():
            if isinstance(batch, GenerateBatch):
                answered = flow.answer(batch)
                column = "ab".index(batch.model)
                texts = [
                    with_fields(one, text=f"{batch.model} " + "x" * lengths[one.prompt - 1][column])
                    for one in answered.items
                ]
                flow.handle(with_fields(answered, items=tuple(texts)))
            elif isinstance(batch, JudgeBatch):
                items = []
                for verdict in flow.judge(batch).items:
                    probability = said[number % len(said)]
                    failure = None if probability is not None else "the judge failed"
                    items.append(with_fields(verdict, probability=probability, failure=failure))
                    number += 1
                flow.handle(LearnBatch(header=batch.header, items=tuple(items)))
            else:
                flow.handle(batch)
    return flow


@dataclass
class Truth:
    """The numbers, by brute force."""

    outcomes: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    both: Counter[str] = field(default_factory=Counter)
    flipped: Counter[str] = field(default_factory=Counter)
    first: Counter[str] = field(default_factory=Counter)
    sided: Counter[str] = field(default_factory=Counter)
    ties: Counter[str] = field(default_factory=Counter)
    agreements: list[tuple[str, str, bool]] = field(default_factory=list)
    labels: list[tuple[str, str, bool]] = field(default_factory=list)  # judge, its vote in the label, same side
    pair_agreement: dict[int, float | None] = field(default_factory=dict)
    longer: int = 0
    unequal: int = 0
    log_ratios: list[float] = field(default_factory=list)  # of the chosen over the rejected response

    def with_label(self, judge: str, vote: str) -> tuple[float | None, int]:
        same = [alike for one, of, alike in self.labels if (one, of) == (judge, vote)]
        return (sum(same) / len(same) if same else None), len(same)

    def agreement(self, judge: str | None = None) -> float | None:
        same = [alike for one, other, alike in self.agreements if judge in (None, one, other)]
        return sum(same) / len(same) if same else None


def truth_of(store: Store, margin: float) -> Truth:
    truth = Truth()
    with store.reading() as transaction:
        connection = transaction.ledger.connection
        given = defaultdict(list)
        for row in connection.execute(select(verdicts).order_by(verdicts.c.id)):
            given[row.pair].append(row)
        lengths = {row.id: len(row.text) for row in connection.execute(select(responses.c.id, responses.c.text))}
        stored = connection.execute(select(resolutions, pairs.c.response_a, pairs.c.response_b).join(pairs)).all()

    def taken(p: float) -> int:
        return 0 if abs(p - 0.5) <= margin + 1e-9 else 1 if p > 0.5 else -1

    for row in stored:
        orders: dict[str, dict[int, float]] = defaultdict(dict)
        for verdict in given[row.pair]:
            truth.verdicts[verdict.judge] += 1
            if verdict.probability is None:
                truth.failed[verdict.judge] += 1
            else:
                truth.ties[verdict.judge] += taken(verdict.probability) == 0
                orders[verdict.judge][verdict.shown] = verdict.probability
        means = {}
        any_flip = False
        for judge, by_order in orders.items():
            for_a = [p if shown == 0 else 1 - p for shown, p in by_order.items()]
            means[judge] = sum(for_a) / len(for_a)
            if len(by_order) == 2:
                flip = taken(for_a[0]) * taken(for_a[1]) == -1
                any_flip |= flip
                truth.both[judge] += 1
                truth.flipped[judge] += flip
                for p in by_order.values():
                    truth.first[judge] += taken(p) == 1
                    truth.sided[judge] += taken(p) != 0
        sides = {judge: taken(p) for judge, p in sorted(means.items()) if taken(p)}
        twos = [(one, other, sides[one] == sides[other]) for one, other in combinations(sides, 2)]
        truth.agreements += twos
        truth.pair_agreement[row.pair] = sum(alike for *_names, alike in twos) / len(twos) if twos else None
        for judge, own in means.items() if len(means) > 1 else ():
            rest = [p for other, p in means.items() if other != judge]
            for vote, votes in (("included", [own, *rest]), ("left_out", rest)):
                label = taken(sum(votes) / len(votes))
                if taken(own) and label:
                    truth.labels.append((judge, vote, taken(own) == label))
        mean = sum(means.values()) / len(means) if means else None
        if mean is None:
            expected = "unscored"
        elif taken(mean):
            expected = "decisive"
            chosen = row.response_a if taken(mean) == 1 else row.response_b
            assert row.chosen == chosen
            rejected = row.response_b if chosen == row.response_a else row.response_a
            truth.log_ratios.append(math.log(lengths[chosen] / lengths[rejected]))
            long_a, long_b = lengths[row.response_a], lengths[row.response_b]
            if long_a != long_b:
                truth.unequal += 1
                truth.longer += lengths[chosen] == max(long_a, long_b)
        else:
            expected = "inconsistent" if any_flip else "tie"
        assert row.outcome == expected  # the first face: the resolution
        truth.outcomes[expected] += 1
    return truth


@settings(max_examples=settings.default.max_examples // 2, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    margin=MARGINS,
    lengths=st.lists(st.tuples(LENGTHS, LENGTHS), min_size=1, max_size=6),
    said=st.lists(PROBABILITIES, min_size=1, max_size=25),
)
def test_seven_faces_say_the_same(margin: float, lengths: list[tuple[int, int]], said: list[float | None]) -> None:
    forget_all()
    store, pool = emptied_memory(), pool_of(margin)
    run(store, pool, lengths, said)
    truth = truth_of(store, margin)
    live = LiveStatus(store, None, pool)
    shown = live.read()
    page = QualityView(store, live, pool.tie_margin).read(None)
    report = collect(store, pool)["answers"]["/api/quality"][""]["all"]
    _metrics_say(truth)
    for quality in (shown["quality"], page, report):
        _judges_say(truth, quality["judges"])
    for resolved in (
        shown["resolutions"],
        status(store, None, pool)["resolutions"],
        _sum_of(page),
        _sum_of(report),
    ):
        assert {name: resolved[name] for name in truth.outcomes} == truth.outcomes
    assert shown["quality"]["agreement"] == truth.agreement()
    assert shown["quality"]["longer_wins"] == (truth.longer / truth.unequal if truth.unequal else None)
    for found in (
        shown["quality"]["preferences"],
        page["preferences"],
        report["preferences"],
        status(store, None, pool)["newest_preferences"],
        _newest_in_metrics(store, pool),
    ):
        _lengths_say(truth, found)
    for quality in (page, report):
        assert sum(bucket["pairs"] for bucket in quality["length"]) == truth.unequal
    _watch_says(truth, shown)
    rows = [row["karma"] for row in exports.rows(store, "jsonl", tie_margin=pool.tie_margin)]
    assert len(rows) == truth.outcomes["decisive"]
    assert {row["pair"]: row["judge_agreement"] for row in rows}.items() <= truth.pair_agreement.items()


def _newest_in_metrics(store: Store, pool: Pool) -> list[dict[str, Any]]:
    """The gauges of the gateway, as the figures that they show."""
    LedgerMetrics(store, None, pool).read_pairs()
    labels = {"stream": STREAM, "source": "judge"}
    number = value("karma_newest_preferences", **labels)
    by = {name: value("karma_newest_length_log_ratio", **labels, statistic=name) for name in ("mean", "median")}
    longer = value("karma_newest_longer_chosen_ratio", **labels)
    lengths = {f"length_log_ratio_{name}": ratio for name, ratio in by.items()}
    return [{**labels, "preferences": number, "longer_share": longer, **lengths}] if number else []


def _lengths_say(truth: Truth, found: list[dict[str, Any]]) -> None:
    assert len(found) == bool(truth.log_ratios)
    for one in found:
        assert one["preferences"] == len(truth.log_ratios) == truth.outcomes["decisive"]
        assert one["length_log_ratio_mean"] == pytest.approx(fmean(truth.log_ratios))
        assert one["length_log_ratio_median"] == pytest.approx(median(truth.log_ratios))
        assert (one["longer_share"] or 0.0) == (truth.longer / truth.unequal if truth.unequal else 0.0)


def _sum_of(quality: dict[str, Any]) -> Counter[str]:
    found: Counter[str] = Counter()
    for policy in quality["policies"]:
        found.update({name: policy[name] for name in ("decisive", "tie", "inconsistent", "unscored")})
    return found


def _metrics_say(truth: Truth) -> None:
    for outcome, number in truth.outcomes.items():
        assert value("karma_pairs_resolved_total", stream=STREAM, outcome=outcome) == number
    for judge in truth.verdicts:
        assert value("karma_verdicts_total", judge=judge, result="failed") == truth.failed[judge]
        assert value("karma_judge_orders_total", judge=judge, flipped="yes") == truth.flipped[judge]
        assert value("karma_judge_orders_total", judge=judge, flipped="no") == truth.both[judge] - truth.flipped[judge]
        assert value("karma_verdicts_first_position_total", judge=judge, place="first") == truth.first[judge]
        agreed = value("karma_judge_agreements_total", judge=judge, agrees="yes")
        compared = agreed + value("karma_judge_agreements_total", judge=judge, agrees="no")
        assert (agreed / compared if compared else None) == truth.agreement(judge)
        for vote in ("included", "left_out"):
            labels = {flag: _labels(judge, vote, flag) for flag in ("yes", "no")}
            number = sum(labels.values())
            assert ((labels["yes"] / number if number else None), number) == truth.with_label(judge, vote)
    agreed = value("karma_judges_compared_total", stream=STREAM, agrees="yes")
    assert agreed == sum(alike for *_judges, alike in truth.agreements)
    assert agreed + value("karma_judges_compared_total", stream=STREAM, agrees="no") == len(truth.agreements)
    flips = {flag: value("karma_orders_compared_total", stream=STREAM, flipped=flag) for flag in ("yes", "no")}
    assert (flips["yes"], sum(flips.values())) == (truth.flipped.total(), truth.both.total())
    assert value("karma_preferences_by_length_total", stream=STREAM, chosen="longer") == truth.longer


def _labels(judge: str, vote: str, agrees: str) -> float:
    return value("karma_judge_label_agreements_total", judge=judge, vote=vote, agrees=agrees)


def _judges_say(truth: Truth, judges: list[dict[str, Any]]) -> None:
    assert [one["judge"] for one in judges] == sorted(truth.verdicts)
    for one in judges:
        judge = one["judge"]
        valid = truth.verdicts[judge] - truth.failed[judge]
        assert (one["verdicts"], one["failed"]) == (truth.verdicts[judge], truth.failed[judge])
        assert (one["both_orders"], one["flipped"]) == (truth.both[judge], truth.flipped[judge])
        assert (one["sided"], one["agreement"]) == (truth.sided[judge], truth.agreement(judge))
        assert (one["label_agreement"], one["label_compared"]) == truth.with_label(judge, "included")
        assert (one["others_agreement"], one["others_compared"]) == truth.with_label(judge, "left_out")
        assert one["first_share"] == (truth.first[judge] / truth.sided[judge] if truth.sided[judge] else None)
        assert one["tie_share"] == (pytest.approx(truth.ties[judge] / valid) if valid else None)


def _watch_says(truth: Truth, live: dict[str, Any]) -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(panels.quality(live))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    for judge in truth.both:
        flips = f"{100 * truth.flipped[judge] / truth.both[judge]:.1f} % of {truth.both[judge]}"
        assert flips in rows[judge]
    if truth.agreement() is not None:
        assert f"judge agreement {100 * (truth.agreement() or 0.0):.1f} %" in text
