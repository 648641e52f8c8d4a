"""What each model is worth, for the page: the ladder, who is comparable to whom, who beats whom, and the course."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np

from karma.errors import KarmaError, did_you_mean
from karma.ranking.snapshot import OVERALL, Snapshot
from karma.store import Store
from karma.store.latest_snapshot import LatestSnapshot
from karma.store.records import PairRecord
from karma_monitor.figures.intervals import evenly
from karma_monitor.figures.leaderboard import Point, Rating, leaderboard, skills_of
from karma_monitor.live_status import LiveStatus
from karma_monitor.queries.pairs import counted_wins, snapshot_body
from karma_monitor.refresh import Pace

#: Below so many comparisons a competency is called preliminary.
PRELIMINARY = 30.0

_COURSE_POINTS = 30
_COURSE_S = 0.05  # a request spends so long at most on reading refits that it does not know
_MOST_IN_MATRIX = 40
_BINS = 10


class Ladders:
    """The models by skill. Refits never change, so each is read once."""

    def __init__(self, store: Store, board: LiveStatus) -> None:
        self._store = store
        self._board = board
        self._lock = threading.Lock()
        self._learnt = LatestSnapshot()
        self._course: dict[int, Point] = {}
        self._wins: dict[str, tuple[Pace, Wins]] = {}

    def look(self, skill: str | None) -> dict[str, Any]:
        """Every model in a skill; None is the overall competency.

        Raises:
            KarmaError: no skill has the name.
        """
        with self._lock:
            with self._store.reading() as transaction:
                snapshot = self._learnt.newest(transaction)
            skills = skills_of(snapshot)
            name = OVERALL if skill is None else skill
            if name not in skills:
                raise KarmaError(f"no skill is called {name!r}{did_you_mean(name, skills)}")
            course = self._refits()
            wins = self._beaten(name)
        standings = leaderboard(snapshot, name, course)
        shown = [standings[place].model for place in evenly(len(standings), _MOST_IN_MATRIX)]
        compared = np.nansum(snapshot.comparisons[snapshot.row(name)], axis=1)
        return {
            "skill": name,
            "skills": list(skills),
            "version": snapshot.version or None,
            "models": [_standing(one, float(compared[snapshot.models.index(one.model)])) for one in standings],
            "kinship": {"names": shown, "cells": _known(snapshot, shown, name)},
            "wins": wins.matrix([one.model for one in standings]),
            "calibration": calibration(list(self._board.pairs())),
            "course": [{"model": one.model, "points": one.course} for one in standings],
        }

    def _refits(self) -> list[Point]:
        """Refits evenly spread over those that are kept, oldest first; those not known yet come with the next look."""
        deadline = time.monotonic() + _COURSE_S
        with self._store.reading() as transaction:
            kept = transaction.preferences.snapshot_times()
            wanted = dict(kept[place] for place in evenly(len(kept), _COURSE_POINTS))
            for version in sorted(wanted.keys() - self._course.keys(), reverse=True):
                if time.monotonic() > deadline:
                    break
                body = snapshot_body(transaction.ledger.connection, version)
                if body is not None:
                    self._course[version] = (wanted[version], version, _means_only(Snapshot.from_bytes(body)))
        self._course = {version: point for version, point in self._course.items() if version in wanted}
        return [self._course[version] for version in sorted(self._course)]

    def _beaten(self, skill: str) -> Wins:
        pace, known = self._wins.get(skill, (Pace(0.02, 5.0), None))
        if known is None or pace.is_due:
            started = time.monotonic()
            with self._store.reading() as transaction:
                rows = counted_wins(transaction.ledger.connection, None if skill == OVERALL else skill)
            known = Wins(rows)
            pace.took(time.monotonic() - started)
            self._wins[skill] = (pace, known)
        return known


class Wins:
    """Who beat whom, by the competency counts: their weights make the shares those of all pairs."""

    def __init__(self, rows: list[Any]) -> None:
        self._won: dict[tuple[str, str], float] = {}
        self._pairs: dict[tuple[str, str], int] = {}
        for row in rows:
            if row.model_a == row.model_b or row.wins_a + row.wins_b <= 0.0:
                continue
            self._won[row.model_a, row.model_b] = row.wins_a / (row.wins_a + row.wins_b)
            self._won[row.model_b, row.model_a] = row.wins_b / (row.wins_a + row.wins_b)
            weight = row.wins_a + row.wins_b + row.ties
            # Pairs of unequal weight tell as much as so many of equal weight (Kish 1965); of these, the decisive ones.
            effective = weight * weight / row.squares if row.squares > 0.0 else weight
            decisive = round(effective * (row.wins_a + row.wins_b) / weight)
            self._pairs[row.model_a, row.model_b] = self._pairs[row.model_b, row.model_a] = max(1, decisive)

    def matrix(self, ranked: list[str]) -> dict[str, Any]:
        """The shares that the row's model won against the column's, and of how many decisive pairs."""
        met = {model for pair in self._won for model in pair}
        names = [model for model in ranked if model in met]
        names = [names[place] for place in evenly(len(names), _MOST_IN_MATRIX)]
        return {
            "names": names,
            "cells": [[self._won.get((row, column)) for column in names] for row in names],
            "counts": [[self._pairs.get((row, column), 0) for column in names] for row in names],
        }


def calibration(records: list[PairRecord]) -> list[dict[str, Any]]:
    """How often a won among judged decisive pairs, by what the competencies gave it when the pair was formed."""
    bins: dict[int, list[float]] = {}
    for record in records:
        chance = record.pair.win_probability
        if record.outcome == "decisive" and record.label_source == "judge" and chance is not None and chance != 0.5:
            found = bins.setdefault(min(_BINS - 1, int(chance * _BINS)), [0.0, 0.0, 0.0])
            for place, value in enumerate((chance, float(record.a_is_chosen), 1.0)):
                found[place] += value
    return [
        {"predicted": chance / number, "actual": won / number, "n": int(number)}
        for _bin, (chance, won, number) in sorted(bins.items())
    ]


def _standing(one: Rating, comparisons: float) -> dict[str, Any]:
    return {
        "model": one.model,
        "mean": one.mean,
        "deviation": one.deviation,
        "low": one.low,
        "high": one.high,
        "comparisons": comparisons,
        "preliminary": comparisons < PRELIMINARY,
        "kin": one.kin,
        "kinship": one.kinship,
        "change": one.change,
        "change_s": one.change_s,
    }


def _known(snapshot: Snapshot, names: list[str], skill: str) -> list[list[float | None]]:
    cells = snapshot.matrix("kinship", names, skill)
    return [[None if np.isnan(value) else float(value) for value in row] for row in cells]


def _means_only(snapshot: Snapshot) -> Snapshot:
    """A refit without its pair tables, which take most of the room and which no course shows."""
    nothing = np.broadcast_to(np.float64(0.0), snapshot.kinship.shape)
    return replace(
        snapshot,
        gap_deviation=nothing,
        kinship=nothing,
        information=nothing,
        win=nothing,
        comparisons=nothing,
        cosine=None,
        outcome=None,
    )
