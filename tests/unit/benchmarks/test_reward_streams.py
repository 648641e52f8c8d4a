"""Streams of the reward model's benchmark: calls are counted, labels are not, and selection rules select."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from karma.config.settings import StreamSettings
from karma.ranking.snapshot import Snapshot
from karma_gateway.planning import PlannedPrompt, plan
from tests.benchmarks.active_policies import PLUGINS, register
from tests.benchmarks.reward_model import candidates_of
from tests.benchmarks.reward_stream import STREAMS, RewardStream
from tests.support.alpaca import Data, Judge, Prompt, Recording

MODELS = tuple("abcdefgh")


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KARMA_PLUGINS", "")
    register()


def recording(prompts: int = 60) -> Recording:
    """Later models are better, and hardly ever worse on a prompt."""
    rng = np.random.default_rng(1)
    logits = np.arange(len(MODELS)) * 3.0 + rng.normal(0, 1.0, (prompts, len(MODELS)))
    data = Data(
        tuple(Prompt(str(number), f"Say {number}.", "talk") for number in range(prompts)),
        MODELS,
        tuple(tuple(f"{model} says {number}." for model in MODELS) for number in range(prompts)),
    )
    return Recording(data, Judge(logits, 1.0 / (1.0 + np.exp(-logits))))


def known(models: int = 6) -> Snapshot:
    """Means 0 to 5 and deviations of the gaps that grow towards the first model."""
    snapshot = Snapshot.empty(MODELS[:models])
    snapshot.mean[:] = np.arange(models + 1)
    snapshot.deviation[:] = 0.1
    spread = np.arange(models + 1, 0, -1, dtype=float)
    snapshot.gap_deviation[:] = np.where(np.eye(models + 1), 0.0, 0.1 * (spread[:, None] + spread[None, :]))
    return snapshot


@pytest.mark.parametrize("name", sorted(PLUGINS["karma.policies"]))
@pytest.mark.parametrize("target", [None, "c"])
def test_a_selection_rule_plans_different_models_and_the_target_first(name: str, target: str | None) -> None:
    prompts = [PlannedPrompt(seed, None) for seed in range(200)]
    for number in (2, 4):
        for models in plan(prompts, MODELS[:6], name, number, known(), target):
            assert len(set(models)) == number
            assert target is None or models[0] == (target, 0)


def test_each_rule_pairs_by_its_idea() -> None:
    prompts = [PlannedPrompt(seed, None) for seed in range(400)]
    gaps, doubts = {}, {}
    for name in ("random", "deltaucb", "drts", "infomax"):
        pairs = [[MODELS.index(model) for model, _ in pair] for pair in plan(prompts, MODELS[:6], name, 2, known())]
        gaps[name] = np.mean([first - second for first, second in pairs])
        doubts[name] = np.mean([12 - first - second for first, second in pairs])
    assert gaps["drts"] > 4.9  # the best against the worst
    assert gaps["deltaucb"] > 2.5 > abs(gaps["random"]) + 1.0  # of half of the models
    assert doubts["infomax"] > max(doubts["random"], doubts["drts"]) + 1.0


def test_a_stream_costs_exactly_its_judged_rows_and_begins_alike_for_fewer_calls() -> None:
    fitted = recording()
    candidates = candidates_of(fitted.data)
    for settings in (StreamSettings(policy="random"), STREAMS["reward"], STREAMS["drts"]):
        before = fitted.judge.calls
        rows = RewardStream(fitted, candidates, settings, 0).run(150)
        assert fitted.judge.calls - before >= rows.judged.sum() == 150
        assert rows.until(100).judged.sum() == 100
        assert all(len(column) == len(rows.judged) for column in vars(rows.pairs).values())
        assert (rows.judged.all()) == (settings.label_at is None)
        assert rows.wrong(fitted) < 0.1
        columns = list(vars(rows.pairs).values())[:3]
        pairs = sorted(zip(*(column.tolist() for column in columns), strict=True))
        assert all(one != other for one, other in pairwise(pairs))


def test_a_policy_that_runs_out_of_pairs_spends_less() -> None:
    fitted = recording(3)
    candidates = candidates_of(fitted.data)
    rows = RewardStream(fitted, candidates, StreamSettings(policy="random"), 0).run(100)
    assert 70 <= rows.judged.sum() == len(rows.judged) <= 3 * 28
