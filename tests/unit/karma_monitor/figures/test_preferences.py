"""Chosen responses beside rejected ones: lengths, quality and competency, held against sums made by hand."""

from __future__ import annotations

import math
from statistics import fmean, median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from karma.ranking.snapshot import Snapshot
from karma.store.preference_quality import preference_quality
from karma.store.records import PairRecord
from karma_monitor.figures.preferences import over_time, preference_figures
from karma_monitor.figures.quality import quality_of, summary
from karma_monitor.prometheus import show_preferences
from tests.support.shown import forget_all, value
from tests.unit.karma_monitor.figures.test_quality import pair

MAYBE = st.none() | st.floats(-5, 5)


@st.composite
def records(draw: st.DrawFn) -> PairRecord:
    """A pair of any stream and outcome, with or without qualities and competencies."""
    names = ("quality_a", "quality_b", "competency_a", "competency_b")
    outcome = draw(st.sampled_from(["decisive", "decisive", "tie", None]))
    source = draw(st.sampled_from(["judge", "predicted"])) if outcome == "decisive" else None
    return pair(
        **{name: draw(MAYBE) for name in names},
        stream=draw(st.sampled_from(["s", "t"])),
        outcome=outcome,
        label_source=source,
        a_is_chosen=draw(st.booleans()),
        length_a=draw(st.integers(0, 40)),
        length_b=draw(st.integers(0, 40)),
        resolved_at=draw(st.floats(0, 100)),
        id=draw(st.integers(1, 99)),
    )


@given(st.lists(records(), max_size=30))
def test_every_figure_is_that_of_its_stream_and_label_source_alone(given_: list[PairRecord]) -> None:
    found = {(one["stream"], one["label_source"]): one for one in preference_figures(preference_quality(given_))}
    expected = {(one.stream, one.label_source): [] for one in given_ if one.outcome == "decisive"}  # type: ignore[var-annotated]
    for one in given_:
        if one.outcome == "decisive":
            sides = [
                {name: getattr(one.pair, f"{name}_{side}") for name in ("length", "quality", "competency")}
                for side in ("ab" if one.a_is_chosen else "ba")
            ]
            expected[one.stream, one.label_source].append(sides)
    assert found.keys() == expected.keys()
    for key, pairs in expected.items():
        logs = [math.log(max(1, chosen["length"]) / max(1, rejected["length"])) for chosen, rejected in pairs]
        unequal = [c["length"] > r["length"] for c, r in pairs if c["length"] != r["length"]]
        shown = found[key]
        assert shown["preferences"] == len(pairs)
        assert shown["longer_share"] == (fmean(unequal) if unequal else None)
        assert shown["length_log_ratio_mean"] == pytest.approx(fmean(logs))
        assert shown["length_log_ratio_median"] == median(logs)
        for name, counted in (("quality", "scored"), ("competency", "rated")):
            known = [(c[name], r[name]) for c, r in pairs if c[name] is not None and r[name] is not None]
            assert shown[counted] == len(known)
            for side, values in zip(("chosen", "rejected"), zip(*known, strict=True), strict=False):
                assert shown[f"{side}_{name}"] == pytest.approx(fmean(values))
            assert known or shown[f"chosen_{name}"] is shown[f"rejected_{name}"] is None


@given(st.lists(records(), max_size=30))
def test_the_live_status_the_page_and_the_cheap_reading_have_one_definition(given_: list[PairRecord]) -> None:
    """Of judged preferences of one stream, the longer share is also the `longer_wins` that stood there before."""
    quality = quality_of(given_, lambda _stream: 0.05)
    shown = summary(quality, given_, Snapshot.empty())

    assert shown["preferences"] == preference_figures(preference_quality(given_))
    judged = [one for one in shown["preferences"] if one["label_source"] == "judge"]
    if len(judged) == 1:
        assert judged[0]["longer_share"] == shown["longer_wins"]


@given(st.lists(records(), max_size=300))
def test_the_parts_over_time_are_whole_and_in_order(given_: list[PairRecord]) -> None:
    parts, decisive = over_time(given_), [one for one in given_ if one.outcome == "decisive"]

    assert sum(part["preferences"] for part in parts) == len(decisive)
    assert len(parts) <= 8
    assert len(parts) <= 1 or min(part["preferences"] for part in parts) >= 25
    times = [time for part in parts for time in (part["from"], part["to"])]
    assert times == sorted(times)
    scored = [(part["chosen_quality"], part["scored"]) for part in parts if part["scored"]]
    whole = sum(
        one["chosen_quality"] * one["scored"] for one in preference_figures(preference_quality(given_)) if one["scored"]
    )
    assert sum(value * number for value, number in scored) == pytest.approx(whole, abs=1e-9)


def test_a_chosen_quality_that_falls_is_seen_over_time() -> None:
    falling = [pair(id=n, resolved_at=float(n), quality_a=1.0 - n / 200, quality_b=0.0) for n in range(200)]

    means = [part["chosen_quality"] for part in over_time(falling)]

    assert len(means) == 8
    assert means == sorted(means, reverse=True)


def test_gauges_have_what_is_known_and_forget_a_stream_that_left_the_window() -> None:
    forget_all()
    known = pair(quality_a=0.9, quality_b=0.3, competency_a=0.5, competency_b=-0.25, label_source="predicted")
    show_preferences(preference_figures(preference_quality([known])))
    labels = {"stream": "s", "source": "predicted"}
    assert value("karma_newest_longer_chosen_ratio", **labels) == 1.0
    assert value("karma_newest_response_quality_score", **labels, side="chosen") == 0.9
    assert value("karma_newest_response_quality_score", **labels, side="rejected") == 0.3
    assert value("karma_newest_response_competency_logits", **labels, side="chosen") == 0.5
    assert value("karma_newest_response_competency_logits", **labels, side="rejected") == -0.25

    show_preferences(preference_figures(preference_quality([pair(stream="t", length_a=100)])))

    assert value("karma_newest_preferences", **labels) == 0
    assert value("karma_newest_preferences", stream="t", source="judge") == 1
    shown = {sample.name for family in REGISTRY.collect() for sample in family.samples}
    assert "karma_newest_length_log_ratio" in shown
    assert not shown & {
        *("karma_newest_longer_chosen_ratio", "karma_newest_response_quality_score"),
        "karma_newest_response_competency_logits",
    }


def test_a_stream_without_a_preference_has_no_row() -> None:
    assert preference_figures(preference_quality([pair(outcome="tie", label_source=None)])) == []
    assert over_time([pair(outcome=None, label_source=None)]) == []
