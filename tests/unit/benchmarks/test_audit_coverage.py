"""The audit's interval covers the true error of the labels of the goal `train`."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.audit_coverage import KINDS, audit_coverage, look
from tests.benchmarks.sure_stream import Kind, SureStream


def test_most_intervals_of_short_streams_cover_the_truth() -> None:
    looks = [look(SureStream(KINDS[seed % len(KINDS)], seed).run(256), 256) for seed in range(24)]
    covered = [each.covered for each in looks if each is not None]
    assert len(covered) >= 20
    assert np.mean(covered) >= 0.85


def test_the_audit_is_of_a_twentieth_of_the_sure_pairs_and_of_no_others() -> None:
    stream = SureStream(Kind(2.0, pairs=3), 3).run(512)
    assert {label.probability for label in stream.labels} == {stream.settings.audit_share}
    assert np.mean([label.judged for label in stream.labels]) == pytest.approx(0.05, abs=0.025)
    assert stream.judged > sum(label.judged for label in stream.labels), "pairs that are not sure are judged too"
    assert 0.0 < stream.judged / stream.pairs < 0.35


def test_with_a_target_every_pair_holds_the_weakest_model() -> None:
    stream = SureStream(Kind(2.0, target=True), 4).run(128)
    assert stream.settings.target is not None
    assert all(stream.settings.target in (example.model_a, example.model_b) for example in stream.examples)
    assert stream.examples


@pytest.mark.long
def test_the_interval_covers_the_truth_in_500_streams() -> None:
    found = {finding.what: finding for finding in audit_coverage(500, 1_000)}
    for what, finding in found.items():
        if what.endswith("covered") and "all streams" in what:
            assert 0.92 <= finding.said <= 0.98, finding
