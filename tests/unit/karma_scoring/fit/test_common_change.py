"""Common changes: the judge or the topic is named, and no model is suspected in its place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from karma.ranking.common_change import CommonChange
from karma_scoring.fit.changes.common_change import with_new
from tests.benchmarks.common_causes import Verdicts, duller, looked_at, said, sharper, swapped, topic


@pytest.mark.parametrize(("make", "kind"), [(topic, "mixture"), (sharper, "scale"), (duller, "scale")])
def test_a_common_cause_is_named_and_no_model_is_suspected(make: Callable[..., Verdicts], kind: str) -> None:
    """Ten models; without the test of common causes, a fifth to a half of them seemed to have changed."""
    for seen in said(make, 10, 6000, streams=3, seed=7, looks=5):
        assert seen.changed == frozenset()
        assert kind in seen.common


@pytest.mark.parametrize(("models", "changed"), [(3, 1), (4, 1), (10, 1), (6, 2)])
def test_a_swapped_model_is_found_among_others(models: int, changed: int) -> None:
    """Of three models too, of which a common change can hardly be told from a change of one."""
    for seed in (1, 2):
        stream = swapped(models, 600 * models, np.random.default_rng(seed), changed=changed)

        seen = looked_at(stream, [400 * models, 500 * models, 600 * models])

        assert seen.changed == {f"m{number:03d}" for number in range(changed)}
        assert seen.common == frozenset()


def test_a_common_change_is_new_once() -> None:
    """Its time moves as buckets become wider."""
    known = (CommonChange(1000.0, "scale", 20.0),)

    same, none = with_new(known, [CommonChange(1100.0, "scale", 30.0)], now=2000.0)
    both, new = with_new(known, [CommonChange(1500.0, "mixture", 30.0)], now=2000.0)

    assert (same, none) == (known, [])
    assert [change.at for change in both] == [1000.0, 1500.0]
    assert [change.kind for change in new] == ["mixture"]
