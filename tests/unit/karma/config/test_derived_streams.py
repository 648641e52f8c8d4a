"""Names of streams: a derived one says whence it comes, and nobody may enqueue to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.config.derived_streams import Derivation, check_enqueued, derivation, teaches
from karma.errors import SettingsError
from karma.plugins.registry import POLICIES
from tests.support.memory import make_pool

NAMES = st.text(st.characters(exclude_characters="@", exclude_categories=["Cs"]), min_size=1)


@given(NAMES, st.sampled_from(sorted(POLICIES)), st.none() | st.integers(0, 99), st.booleans())
def test_what_a_name_was_made_of_is_read_from_it(base: str, policy: str, pairs: int | None, teach: bool) -> None:
    derived = Derivation(base, policy, pairs, teach)
    assert derivation(derived.name) == derived
    assert teaches(derived.name) is teach


@given(NAMES, st.lists(st.sampled_from(["fair", "a.b", "b-2", "j_1"]), min_size=1), st.booleans())
def test_the_judges_of_a_rejudged_stream_are_read_from_its_name(base: str, judges: list[str], teach: bool) -> None:
    derived = Derivation.rejudged(base, tuple(judges), teach)
    assert derivation(derived.name) == derived
    assert teaches(derived.name) is teach
    assert Derivation.rejudged(base, tuple(reversed(judges)), teach).name == derived.name


def test_a_jury_without_a_judge_or_with_an_unspeakable_one_is_refused() -> None:
    with pytest.raises(SettingsError, match="no judge is named"):
        Derivation.rejudged("mine", ())
    with pytest.raises(SettingsError, match="cannot name a stream"):
        Derivation.rejudged("mine", ("a,b",))
    with pytest.raises(SettingsError, match="begins as judges do"):
        Derivation("mine", "rejudge:fair")
    assert derivation("mine@rejudge:") is None


def test_a_rejudged_stream_has_its_judges_and_no_judge_budget() -> None:
    pool = make_pool("abcd", streams={"mine": {"goal": "train", "judges": ["j"], "tie_margin": 0.1}})
    settings = pool.stream("mine@rejudge:j,k")
    assert (settings.judges, settings.has_judge_budget, settings.label_at) == (("j", "k"), False, None)
    assert (settings.tie_margin, settings.policy) == (0.1, pool.stream("mine").policy)
    assert [judge.name for judge in pool.stream_judges("mine@rejudge:j,k")] == ["j"]
    assert pool.missing_judges("mine@rejudge:j,k") == ["k"]
    assert pool.missing_judges("mine") == []


@given(NAMES)
def test_a_name_without_a_mark_is_no_derived_stream_and_teaches(name: str) -> None:
    assert derivation(name) is None
    assert teaches(name)
    if name.strip():
        check_enqueued(name)


def test_nothing_can_be_enqueued_to_a_derived_stream() -> None:
    with pytest.raises(SettingsError, match="karma rematch"):
        check_enqueued("mine@kin")


@pytest.mark.parametrize("name", ["", " "])
def test_nothing_can_be_enqueued_to_a_stream_without_a_name(name: str) -> None:
    """Such as `--stream "$UNSET"`."""
    with pytest.raises(SettingsError, match="the name of the stream is empty"):
        check_enqueued(name)


def test_a_derived_stream_cannot_be_derived_from() -> None:
    with pytest.raises(SettingsError, match="derived itself"):
        Derivation("mine@kin", "random")


def test_a_policy_that_a_name_could_not_hold_is_refused() -> None:
    with pytest.raises(SettingsError, match="cannot name a stream"):
        Derivation("mine", "kin+teach")


def test_a_derived_stream_is_treated_as_its_base_but_for_what_its_name_says() -> None:
    pool = make_pool("abc", streams={"mine": {"policy": "random", "models": ["a", "b"], "pairs_per_prompt": 3}})
    derived = pool.stream("mine@kin")
    assert (derived.policy, derived.models, derived.pairs_per_prompt) == ("kin", ("a", "b"), 3)
    assert pool.stream("mine@kin+2pairs+teach").pairs_per_prompt == 2
    assert pool.stream_models("mine@kin") == ("a", "b")
    assert pool.stream("other@kin").models == ()
