"""The series of judges from a snapshot: what is unknown is absent, and names are bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from karma.ranking.jury import JudgeWeight, Jury
from karma.ranking.snapshot import Snapshot
from karma.telemetry.bounded_metrics import LIMITS
from karma_monitor.judge_series import show_judges
from tests.support.shown import forget_all


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    forget_all()
    yield
    forget_all()


def series(name: str) -> dict[tuple[str, ...], float]:
    collector = REGISTRY._names_to_collectors[name]
    return {tuple(one.labels.values()): one.value for family in collector.collect() for one in family.samples}


def jury(**judges: JudgeWeight) -> Snapshot:
    return replace(Snapshot.empty(), jury=Jury(judges))


def test_weights_and_accuracies_are_shown_as_far_as_they_are_known() -> None:
    known = JudgeWeight(1.0, weight=0.6, pairs=53, accuracy=0.8, low=0.7, high=0.9)
    person = JudgeWeight(1.0, weight=0.4, pairs=20, accuracy=0.95, is_anchor=True)
    show_judges(jury(j=known, anna=person, mute=JudgeWeight(0.0, pairs=20)))

    assert series("karma_judge_weight_ratio") == {("j",): 0.6, ("anna",): 0.4, ("mute",): 0.0}
    assert series("karma_judge_weighed_pairs") == {("j",): 53, ("anna",): 20, ("mute",): 20}
    assert series("karma_judge_accuracy_ratio") == {
        ("j", "estimate"): 0.8,
        ("j", "low"): 0.7,
        ("j", "high"): 0.9,
        ("anna", "estimate"): 0.95,
    }


def test_a_judge_that_left_the_jury_has_no_series_any_more() -> None:
    show_judges(jury(j=JudgeWeight(1.0, weight=1.0, pairs=53, accuracy=0.8)))
    show_judges(Snapshot.empty())

    for name in ("weight_ratio", "weighed_pairs", "accuracy_ratio"):
        assert series(f"karma_judge_{name}") == {}


def test_any_number_of_people_makes_a_bounded_number_of_series() -> None:
    show_judges(jury(**{f"person-{n}": JudgeWeight(1.0, weight=0.1) for n in range(1000)}))

    assert len(series("karma_judge_weight_ratio")) == LIMITS["judge"]
    assert ("other",) not in series("karma_judge_weight_ratio")
