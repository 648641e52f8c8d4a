"""The models for the page: leaderboard, ratings over time, kinship, wins, calibration."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from karma.errors import KarmaError, did_you_mean
from karma.ranking.snapshot import KIN_COMPARISONS, OVERALL
from karma.ranking.tail import TOLERANCE
from karma.store import Store
from karma.store.latest_snapshot import LatestSnapshot
from karma.store.records import PairRecord
from karma_monitor.figures.intervals import evenly
from karma_monitor.figures.models.common_changes import common_change_facts
from karma_monitor.figures.models.leaderboard import Rating, known_kinship, leaderboard, skills_of
from karma_monitor.figures.models.misfit import misfit_facts
from karma_monitor.figures.models.refits import Refits
from karma_monitor.figures.predictions import win_tail_of
from karma_monitor.live_status import LiveStatus
from karma_monitor.queries.pairs import counted_wins
from karma_monitor.refresh import Pace

#: A rating with fewer comparisons is preliminary.
PRELIMINARY = 30.0

_HISTORY_POINTS = 30
_HISTORY_S = 0.05  # a request spends at most so long on reading refits
_MOST_IN_MATRIX = 40
_MOST_MODELS = 200  # of the leaderboard, best first
_BINS = 10


class Leaderboards:
    """The models by skill. Refits never change, so each is read once."""

    def __init__(self, store: Store, live: LiveStatus, history_s: float = _HISTORY_S) -> None:
        self._store = store
        self._live = live
        self._history_s = history_s
        self._lock = threading.Lock()
        self._snapshot = LatestSnapshot()
        self._refits = Refits(_HISTORY_POINTS)
        self._wins: dict[str, tuple[Pace, Wins]] = {}

    def read(self, skill: str | None) -> dict[str, Any]:
        """Every model in a skill; None is the overall competency.

        Raises:
            KarmaError: no skill has the name.
        """
        with self._lock:
            with self._store.reading() as transaction:
                snapshot = self._snapshot.newest(transaction)
                history = self._refits.read(transaction, self._history_s)
            skills = skills_of(snapshot)
            name = OVERALL if skill is None else skill
            if name not in skills:
                raise KarmaError(f"no skill is called {name!r}{did_you_mean(name, skills)}")
            wins = self._wins_of(name)
        ratings = leaderboard(snapshot, name, history)
        number, ratings = len(ratings), ratings[:_MOST_MODELS]
        shown = [ratings[index].model for index in evenly(len(ratings), _MOST_IN_MATRIX)]
        recent = list(self._live.pairs())
        return {
            "skill": name,
            "skills": list(skills),
            "version": snapshot.version or None,
            "models": [_rating(one) for one in ratings],
            "models_known": number,
            "groups": [list(group) for group in snapshot.groups],
            "kinship": {
                "names": shown,
                "cells": _rows(known_kinship(snapshot, shown, name)),
                "shared": _rows(snapshot.matrix("comparisons", shown, name)),
                "needed": KIN_COMPARISONS,
            },
            "misfit": misfit_facts(snapshot),
            "common_changes": common_change_facts(snapshot),
            "wins": wins.matrix([one.model for one in ratings]),
            "calibration": calibration(recent),
            "calibration_window": len(recent),
            "win_tail": win_tail_of(snapshot),
            "tail_tolerance": TOLERANCE,
            "course": [{"model": one.model, "points": one.course} for one in ratings],
        }

    def _wins_of(self, skill: str) -> Wins:
        pace, known = self._wins.get(skill, (Pace(0.02, 5.0), None))
        if known is None or pace.is_due:
            started = time.monotonic()
            with self._store.reading() as transaction:
                rows = counted_wins(transaction.ledger.connection, None if skill == OVERALL else skill)
            known = Wins.weighted(rows)
            pace.finished(time.monotonic() - started)
            self._wins[skill] = (pace, known)
        return known


class Wins:
    """Who beat whom, among decisive judged pairs of two models."""

    def __init__(self, shares: Mapping[tuple[str, str], float], pairs: Mapping[tuple[str, str], int]) -> None:
        self._shares = shares
        self._pairs = pairs
        self.models = {model for pair in shares for model in pair}

    @classmethod
    def counted(cls, wins: Mapping[tuple[str, str], int]) -> Wins:
        """From pairs by (winner, loser)."""
        met = {(one, other) for one, other in wins if one != other}
        met |= {(other, one) for one, other in met}
        pairs = {(one, other): wins.get((one, other), 0) + wins.get((other, one), 0) for one, other in met}
        return cls({pair: wins.get(pair, 0) / pairs[pair] for pair in met}, pairs)

    @classmethod
    def weighted(cls, rows: list[Any]) -> Wins:
        """From the competency counts: their weights make the shares those of all pairs."""
        shares: dict[tuple[str, str], float] = {}
        pairs: dict[tuple[str, str], int] = {}
        for row in rows:
            if row.model_a == row.model_b or row.wins_a + row.wins_b <= 0.0:
                continue
            shares[row.model_a, row.model_b] = row.wins_a / (row.wins_a + row.wins_b)
            shares[row.model_b, row.model_a] = row.wins_b / (row.wins_a + row.wins_b)
            weight = row.wins_a + row.wins_b + row.ties
            # The effective number of pairs of unequal weights (Kish 1965), and the decisive ones among them.
            effective = weight * weight / row.squares if row.squares > 0.0 else weight
            decisive = round(effective * (row.wins_a + row.wins_b) / weight)
            pairs[row.model_a, row.model_b] = pairs[row.model_b, row.model_a] = max(1, decisive)
        return cls(shares, pairs)

    def matrix(self, ranked: list[str]) -> dict[str, Any]:
        """The shares that the row's model won against the column's, and the numbers of decisive pairs."""
        names = [model for model in ranked if model in self.models]
        names = [names[index] for index in evenly(len(names), _MOST_IN_MATRIX)]
        return {
            "names": names,
            "cells": [[self._shares.get((row, column)) for column in names] for row in names],
            "counts": [[self._pairs.get((row, column), 0) for column in names] for row in names],
        }


def calibration(records: list[PairRecord]) -> list[dict[str, Any]]:
    """How often a won among judged preferences, by its win probability when the pair was formed."""
    bins: dict[int, list[float]] = {}
    for record in records:
        chance = record.pair.win_probability
        if record.outcome == "decisive" and record.label_source == "judge" and chance is not None and chance != 0.5:
            found = bins.setdefault(min(_BINS - 1, int(chance * _BINS)), [0.0, 0.0, 0.0])
            for index, value in enumerate((chance, float(record.a_is_chosen), 1.0)):
                found[index] += value
    return [
        {"predicted": chance / number, "actual": won / number, "n": int(number)}
        for _bin, (chance, won, number) in sorted(bins.items())
    ]


def _rating(one: Rating) -> dict[str, Any]:
    names = ("mean", "deviation", "low", "high", "comparisons", "beats_next", "kin", "kinship", "change", "change_s")
    rating = {name: getattr(one, name) for name in ("model", *names)}
    return {**rating, "preliminary": one.comparisons < PRELIMINARY}


def _rows(cells: Any) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in cells]
