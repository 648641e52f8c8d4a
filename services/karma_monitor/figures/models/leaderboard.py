"""The leaderboard: each model's rating with its interval, nearest kin and history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from karma.ranking.snapshot import KIN_COMPARISONS, OVERALL, Snapshot
from karma_monitor.figures.models.refits import Point

#: A model whose kinship with every other is below this has no kin.
LEAST_KINSHIP = 0.01
#: Half the width of a normal distribution's central 90 %, in standard deviations.
Z90 = 1.644854
#: The change is measured since this long ago, or since the first refit.
TREND_S = 86_400.0

_BARS = "▁▂▃▄▅▆▇█"
#: A history within less than this many logits is drawn flat.
_FLAT = 0.5


@dataclass(frozen=True)
class Rating:
    """One model in one skill; logits."""

    model: str
    skill: str
    mean: float
    deviation: float
    comparisons: float  # effective number of verdicts behind it
    beats_next: float | None  # P(beats the next | decisive); None for the last, and where no verdict connects the two
    kin: str | None  # the nearest model; None where no kinship is known, or none is at least `LEAST_KINSHIP`
    kinship: float | None  # the largest known one; None where none is known
    course: tuple[tuple[float, float], ...]  # seconds since 1970, mean; oldest first, now included
    change: float | None  # of the mean over the time below; None without an earlier point
    change_s: float | None

    @property
    def low(self) -> float:
        """Lower end of the 90 % interval."""
        return self.mean - Z90 * self.deviation

    @property
    def high(self) -> float:
        """Upper end of the 90 % interval."""
        return self.mean + Z90 * self.deviation

    @property
    def sparkline(self) -> str:
        """The course as a row of bars; empty where there are fewer than two points."""
        means = [mean for _at, mean in self.course]
        if len(means) < 2:
            return ""
        middle = (min(means) + max(means)) / 2
        span = max(max(means) - min(means), _FLAT)
        places = [(mean - middle) / span + 0.5 for mean in means]
        return "".join(_BARS[min(len(_BARS) - 1, int(place * len(_BARS)))] for place in places)


def leaderboard(snapshot: Snapshot, skill: str, course: Sequence[Point] = ()) -> list[Rating]:
    """The rating of every model in a skill (or `OVERALL`), best first.

    Args:
        snapshot: the newest competencies.
        skill: one that the snapshot knows, or `OVERALL`.
        course: refits in the order of time, the newest included.
    """
    models = snapshot.models
    if not models:
        return []
    means, deviations = snapshot.vector("mean", models, skill), snapshot.vector("deviation", models, skill)
    kinship, wins = known_kinship(snapshot, models, skill), snapshot.matrix("win", models, skill)
    compared = np.nansum(snapshot.comparisons[snapshot.row(skill)], axis=1).tolist()
    np.fill_diagonal(kinship, np.nan)
    ratings = []
    order = np.argsort(-means, kind="stable").tolist()
    for index, following in zip(order, [*order[1:], None], strict=True):
        model = models[index]
        row = kinship[index]
        nearest = None if np.isnan(row).all() else int(np.nanargmax(row))
        moved = _course(model, skill, course)
        change, change_s = _change(moved)
        ratings.append(
            Rating(
                model=model,
                skill=skill,
                mean=float(means[index]),
                deviation=float(deviations[index]),
                comparisons=compared[index],
                beats_next=None
                if following is None or snapshot.apart(model, models[following])
                else float(wins[index, following]),
                kin=None if nearest is None or row[nearest] < LEAST_KINSHIP else models[nearest],
                kinship=None if nearest is None else float(row[nearest]),
                course=moved,
                change=change,
                change_s=change_s,
            )
        )
    return ratings


def known_kinship(snapshot: Snapshot, models: Sequence[str], skill: str | None) -> NDArray[np.float64]:
    """The kinship of every two models; nan below `KIN_COMPARISONS` shared verdicts, as where matching explores."""
    kinship, shared = (snapshot.matrix(table, models, skill) for table in ("kinship", "comparisons"))
    return np.where(shared >= KIN_COMPARISONS, kinship, np.nan)


def skills_of(snapshot: Snapshot) -> tuple[str, ...]:
    """The overall competency and every skill."""
    return (OVERALL, *snapshot.skills)


def _course(model: str, skill: str, course: Sequence[Point]) -> tuple[tuple[float, float], ...]:
    """The model's means in those refits that knew model and skill."""
    return tuple(
        (created_at, float(past.vector("mean", [model], skill)[0]))
        for created_at, _version, past in course
        if past.index(model) is not None and (skill == OVERALL or past.row(skill))
    )


def _change(course: Sequence[tuple[float, float]]) -> tuple[float | None, float | None]:
    if len(course) < 2:
        return None, None
    now, mean = course[-1]
    before = [point for point in course[:-1] if point[0] <= now - TREND_S]
    then, earlier = before[-1] if before else course[0]
    return mean - earlier, now - then
