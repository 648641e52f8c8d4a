"""Calls of a stream's judges: how many one pair takes, by the settings; and whether the settings about judges agree."""

from __future__ import annotations

from collections.abc import Sequence

from karma.config.settings import StreamSettings
from karma.errors import SettingsError, did_you_mean
from karma.messages import JudgeSpec


def calls_of(judge: JudgeSpec, stream: StreamSettings) -> int:
    """The calls that a judge takes at most for a pair that it is asked about: one per order."""
    return 2 if judge.both_orders and stream.orders != "one" else 1


def asked_share(judges: Sequence[JudgeSpec], stream: StreamSettings) -> float:
    """The share of a stream's judged pairs that each of its judges is asked about, as if every doubt called for it."""
    if not stream.judges_per_pair:
        return 1.0
    return stream.all_judges_share + (1.0 - stream.all_judges_share) * min(1.0, stream.judges_per_pair / len(judges))


def calls_per_pair(judges: Sequence[JudgeSpec], stream: StreamSettings) -> int:
    """The calls that judging a pair takes at most: one per judge and order.

    In rotation these are those of the drawn judges; a pair that all judges see takes `calls_of_all`.
    """
    calls = sorted((calls_of(judge, stream) for judge in judges), reverse=True)
    return sum(calls[: stream.judges_per_pair or len(calls)])


def calls_of_all(judges: Sequence[JudgeSpec], stream: StreamSettings) -> int:
    """The calls that a pair takes at most if all judges see it."""
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
    if stream.judges_per_pair and first is not None:
        raise SettingsError(
            f"judges_per_pair is {stream.judges_per_pair} and first_judge is {first!r}, but a stream either draws the "
            "judges of a pair or asks one of them first. Leave one of the two out."
        )
    if stream.judges_per_pair > len(names):
        raise SettingsError(
            f"judges_per_pair is {stream.judges_per_pair}, but the stream has {len(names)} judge"
            f"{'' if len(names) == 1 else 's'}: {', '.join(names)}. Expected {len(names)} or fewer, or 0 for all."
        )
    limit = stream.judge_calls_per_hour
    if limit is not None and limit < (each := calls_per_pair(judges, stream)):
        raise SettingsError(
            f"judge_calls_per_hour is {limit:g}, but to judge one pair takes {each} calls (of all judges, or of "
            "judges_per_pair, in both "
            f'orders where they see one, but for orders = "one"), so none could be judged. Expected {each} or more.'
        )
