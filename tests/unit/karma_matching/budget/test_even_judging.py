"""With equal shares for judging and for audits, a verdict is as likely for every kind of pair: the goal `reward`."""

from __future__ import annotations

import random

import numpy as np
import pytest

from karma.config.goals import SETTINGS
from karma_matching.budget.gap_pairs import GapPair
from karma_matching.budget.sure_labels import START, SureRule, SureState, label_or_judge

MODELS = "abcdefgh"
SHARES = {key: SETTINGS["reward"][key] for key in ("label_at", "judge_share", "audit_share")}

#: P(better | decisive), P(tie) by kind.
KINDS = {"far": (0.97, 0.05), "near": (0.55, 0.15), "likely tie": (0.6, 0.5)}


@pytest.mark.parametrize("far", [0.2, 0.5, 0.8])
def test_under_the_goal_reward_near_far_and_likely_ties_are_judged_alike(far: float) -> None:
    draws, rng, state = np.random.default_rng(3), random.Random(5), SureState()
    rule = SureRule(**SHARES, models=len(MODELS))
    judged: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    labeled = 0
    for number in range(12_000):
        kind = str(draws.choice(list(KINDS), p=[far, (1 - far) / 2, (1 - far) / 2]))
        first, second = draws.choice(list(MODELS), 2, replace=False)
        (decision,), state = label_or_judge([GapPair(first, second, *KINDS[kind])], rule, state, rng)
        assert decision.probability >= SHARES["audit_share"]
        if number >= START / SHARES["judge_share"]:
            judged[kind].append(decision.judged)
            labeled += bool(decision.sure and not decision.judged)
            assert not decision.sure or kind == "far"

    for kind, drawn in judged.items():
        assert np.mean(drawn) == pytest.approx(SHARES["judge_share"], abs=0.035), kind
    assert labeled == pytest.approx((1 - SHARES["judge_share"]) * len(judged["far"]), rel=0.05)
