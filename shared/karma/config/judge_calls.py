"""Calls of a stream's judges: how many one pair takes, by the settings; and whether the settings about judges agree."""

from __future__ import annotations

from collections.abc import Sequence

from karma.config.settings import StreamSettings
from karma.errors import SettingsError, did_you_mean
from karma.messages import JudgeSpec


def calls_of(judge: JudgeSpec, stream: StreamSettings) -> int:
    """The calls that a judge takes at most for a pair that it is asked about: one per order."""
    return 2 if judge.both_orders and stream.orders != "one" else 1


def expected_calls(judge: JudgeSpec, stream: StreamSettings) -> float:
    """The calls of a judge per pair that is formed, by the settings: as if every verdict called for more."""
    return calls_of(judge, stream) * (stream.judge_share or 1.0)


def calls_per_pair(judges: Sequence[JudgeSpec], stream: StreamSettings) -> int:
    """The calls that judging a pair takes at most: one per judge and order."""
    return sum(calls_of(judge, stream) for judge in judges)


def check_judge_settings(judges: Sequence[JudgeSpec], stream: StreamSettings) -> None:
    """Check the settings that say which of a stream's judges see a pair.

    Raises:
        SettingsError: they do not agree with the judges or with each other.
    """
    names = [judge.name for judge in judges]
    first = stream.first_judge
    if first is not None and first not in names:
        raise SettingsError(
            f"first_judge is {first!r}, expected a judge of the stream: {', '.join(names)}{did_you_mean(first, names)}"
        )
    if first is not None and len(names) < 2:
        raise SettingsError(
            f"first_judge is {first!r}, the only judge of the stream, so no other one could be asked where it is in "
            "doubt. Name a second judge, or leave first_judge out."
        )
    limit = stream.judge_calls_per_hour
    if limit is not None and limit < (each := calls_per_pair(judges, stream)):
        raise SettingsError(
            f"judge_calls_per_hour is {limit:g}, but to judge one pair takes {each} calls (of all judges, in both "
            f'orders where they see one, but for orders = "one"), so none could be judged. Expected {each} or more.'
        )
