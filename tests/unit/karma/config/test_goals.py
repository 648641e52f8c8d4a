"""A goal chooses the settings that a stream's table does not have, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from karma.config.goals import GOALS, SETTINGS, Goal, chosen_by_goal
from karma.config.pool import Pool
from karma.config.settings import StreamSettings
from karma.errors import SettingsError
from tests.support.memory import ENDPOINT, make_pool

VERIFIER = {"kind": "verifier"}
PAID = {"kind": "openai", "model": {**ENDPOINT, "model": "j"}}


#: Settings that are read where the goal that a stream began with is not known: of the pool file alone.
READ_WITHOUT_GOAL = {
    *("checker", "tie_margin", "skills", "embedder", "embedder_revision", "max_label_error", "judge_calls_per_hour"),
    *("models", "judges", "target"),
}


def pool_of(pool: str = "abcd", judges: dict | None = None, streams: dict | None = None, **stream: Any) -> Pool:
    return make_pool(pool, goal=None, judges=judges or {"j": PAID}, stream=stream, streams=streams or {})


def settings(pool: str = "abcd", judges: dict | None = None, **stream: Any) -> StreamSettings:
    return pool_of(pool, judges, **stream).stream("default")


def test_a_new_stream_is_for_training_unless_the_table_names_another_goal() -> None:
    assert settings() == settings(goal="train")
    assert chosen_by_goal("train", settings()) == SETTINGS["train"]
    assert settings().label_at is not None


@pytest.mark.parametrize("goal", GOALS)
def test_a_stream_keeps_the_goal_that_it_began_with(goal: Goal) -> None:
    """In a table of its own, in `[stream]`, and where it is derived from another."""
    pool = pool_of(tie_margin=0.1, streams={"own": {"explore_share": 0.2}})

    for name, table in (("default", {}), ("own", {"explore_share": 0.2}), ("any@kin", {"policy": "kin"})):
        expected = settings(goal=goal, tie_margin=0.1, **table)
        assert pool.stream(name, goal) == expected


@pytest.mark.parametrize("began_with", GOALS)
def test_a_goal_that_the_table_names_goes_before_the_one_that_a_stream_began_with(began_with: Goal) -> None:
    pool = pool_of(goal="rank", streams={"own": {"goal": "train", "policy": "random"}})

    assert pool.stream("default", began_with) == settings(goal="rank")
    assert pool.stream("own", began_with) == settings(goal="train", policy="random")


def test_a_key_of_the_table_goes_before_the_goal_that_a_stream_began_with() -> None:
    pool = pool_of(policy="kin", judge_share=0.4)

    assert pool.stream("default", "label") == settings(goal="label", policy="kin", judge_share=0.4)
    assert pool.stream("default", "label").label_at is None


def test_a_goal_of_no_name_that_the_store_holds_is_the_one_of_new_streams() -> None:
    assert pool_of().stream("default", "something of a later version") == settings()


@pytest.mark.parametrize("goal", GOALS)
def test_no_goal_chooses_what_is_read_where_the_goal_is_not_known(goal: Goal) -> None:
    """Where a goal is to choose one of these, its readers must learn what the stream began with (`StreamGoals`)."""
    assert not SETTINGS[goal].keys() & READ_WITHOUT_GOAL
    assert SETTINGS[goal].keys() <= {*StreamSettings.__struct_fields__}
    assert "policy" in SETTINGS[goal]


def test_a_pool_is_refused_where_it_is_wrong_for_a_stream_that_began_with_another_goal() -> None:
    with pytest.raises(
        SettingsError, match=r'\[stream\] \(for streams that began with goal = "rank"\).*label_at is 0.9 without a'
    ):
        settings(label_at=0.9)
    assert settings(label_at=0.9, goal="train").label_at == 0.9


def test_every_kind_of_stream_is_listed() -> None:
    found = dict(pool_of(streams={"own": {"goal": "rank"}}).every_stream())

    assert found["[stream]"].goal == "train"
    assert found["[streams.own]"].goal == "rank"
    assert {stream.goal for stream in found.values()} == set(GOALS)
    assert len(found) == 1 + len(GOALS)


def test_the_goal_train_labels_by_prediction_under_a_judge_budget() -> None:
    found = settings(goal="train")

    assert found.policy == SETTINGS["train"]["policy"]
    assert found.label_at == SETTINGS["train"]["label_at"]
    assert found.has_judge_budget


def test_the_goal_reward_pairs_at_random_and_labels_by_prediction() -> None:
    found = settings(goal="reward")

    assert (found.policy, found.label_at, found.judge_share, found.audit_share) == ("random", 0.9, 0.2, 0.2)
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

    assert pool.stream("default").policy == SETTINGS["train"]["policy"]
    assert pool.stream("ladder") == settings(goal="rank", tie_margin=0.1)
    derived = pool.stream("default@random")  # a derived stream has the settings of its base
    assert derived.label_at == SETTINGS["train"]["label_at"]


def test_free_judges_judge_everything() -> None:
    for judges in ({"j": VERIFIER}, {"j": VERIFIER, "p": {"kind": "prior"}}):
        found = settings(judges=judges, goal="train")
        assert (found.policy, found.label_at, found.has_judge_budget) == (SETTINGS["train"]["policy"], None, False)

    mixed = make_pool(
        "abcd", judges={"v": VERIFIER, "j": PAID}, stream={"goal": "train"}, streams={"free": {"judges": ["v"]}}
    )
    assert mixed.stream("default").label_at is not None
    assert mixed.stream("free").label_at is None


def test_few_models_are_judged_whole() -> None:
    found = settings("abc", goal="train")
    assert (found.policy, found.label_at, found.has_judge_budget) == ("wide-gap", None, False)
    assert (found.responses_per_prompt, found.pairs_per_prompt) == (2, 1)  # more would multiply the judge calls
    assert settings("abc", goal="train", judges={"j": VERIFIER}).pairs_per_prompt == 2
    assert settings("abcd", goal="train", models=["a", "b", "c"]).label_at is None
    assert settings("abcd", goal="train").label_at is not None


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
