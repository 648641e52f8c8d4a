"""A goal chooses the settings that a stream's table does not have, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from karma.config.settings import StreamSettings
from karma.errors import SettingsError
from tests.support.memory import ENDPOINT, make_pool

VERIFIER = {"kind": "verifier"}
PAID = {"kind": "openai", "model": {**ENDPOINT, "model": "j"}}


def settings(pool: str = "abcd", judges: dict | None = None, **stream: Any) -> StreamSettings:
    return make_pool(pool, judges=judges or {"j": PAID}, stream=stream).stream("default")


def test_without_a_goal_every_setting_is_as_before() -> None:
    assert settings() == StreamSettings()
    assert settings() == StreamSettings(goal="label", policy="informative", label_at=None, judge_share=None)


def test_the_goal_train_pairs_far_models_and_labels_by_prediction() -> None:
    found = settings(goal="train")

    assert (found.policy, found.label_at, found.judge_share, found.audit_share) == ("best-vs-worst", 0.9, 0.2, 0.05)
    assert found.has_judge_budget


def test_the_goal_reward_pairs_at_random_and_labels_by_prediction() -> None:
    found = settings(goal="reward")

    assert (found.policy, found.label_at, found.judge_share, found.audit_share) == ("random", 0.9, 0.2, 0.05)
    assert settings(goal="reward", judges={"j": VERIFIER}) == StreamSettings(goal="reward", policy="random")


@pytest.mark.parametrize("goal", ["rank", "label"])
def test_the_other_goals_pair_what_is_informative_and_judge_all(goal: str) -> None:
    found = settings(goal=goal)

    assert (found.policy, found.has_judge_budget, found.label_at) == ("informative", False, None)


def test_a_setting_of_the_table_goes_before_the_goal() -> None:
    found = settings(goal="train", policy="random", judge_share=0.5, label_at=0.8, audit_share=0.1)

    assert (found.policy, found.judge_share, found.label_at, found.audit_share) == ("random", 0.5, 0.8, 0.1)


def test_a_stream_may_have_another_goal_than_all() -> None:
    pool = make_pool("abcd", stream={"goal": "train", "tie_margin": 0.1}, streams={"ladder": {"goal": "rank"}})

    assert pool.stream("default").policy == "best-vs-worst"
    assert pool.stream("ladder") == StreamSettings(goal="rank", tie_margin=0.1)
    assert pool.stream("default@random").label_at == 0.9  # a derived stream has the settings of its base


def test_free_judges_judge_everything() -> None:
    for judges in ({"j": VERIFIER}, {"j": VERIFIER, "p": {"kind": "prior"}}):
        found = settings(judges=judges, goal="train")
        assert (found.policy, found.label_at, found.has_judge_budget) == ("best-vs-worst", None, False)

    mixed = make_pool(
        "abcd", judges={"v": VERIFIER, "j": PAID}, stream={"goal": "train"}, streams={"free": {"judges": ["v"]}}
    )
    assert mixed.stream("default").label_at == 0.9
    assert mixed.stream("free").label_at is None


def test_few_models_are_judged_whole() -> None:
    assert settings("abc", goal="train").label_at is None
    assert settings("abcd", goal="train", models=["a", "b", "c"]).label_at is None
    assert settings("abcd", goal="train").label_at == 0.9


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ({"goal": "trian"}, r"\[stream\] goal is 'trian': expected one of train, reward, rank, label"),
        ({"goal": 1}, r"\[stream\] goal is 1"),
        ({"label_at": 0.5, "judge_share": 0.2}, r"label_at is 0.5"),
        ({"label_at": 0.9}, "label_at is 0.9 without a judge_share"),
        (
            {"label_at": 0.9, "judge_share": 0.2, "models": ["a", "b", "c"]},
            "label_at is 0.9, but the stream has 3 models",
        ),
        ({"gaol": "train"}, r"unknown key 'gaol' \(did you mean 'goal'\?\)"),
    ],
)
def test_an_error_names_the_key_its_value_and_what_was_expected(stream: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings(**stream)
