"""The report's panels on models: how good they are, who is comparable to whom, who beats whom."""

from __future__ import annotations

import math
from collections.abc import Sequence

from karma.ranking.snapshot import OVERALL, Snapshot
from karma_monitor.figures.formatting import share, signed
from karma_monitor.figures.intervals import evenly
from karma_monitor.figures.leaderboard import Point, Rating, leaderboard, skills_of
from karma_monitor.figures.quality import Quality
from karma_monitor.report_old.html import Section
from karma_monitor.report_old.pictures import DIVERGING, SEQUENTIAL, Course, Matrix, Whisker, heat_map, lines, whiskers

_MOST_ON_LADDER = 60
_MOST_IN_MATRIX = 40
_MOST_PER_SKILL = 24  # models in the kinship of one skill
_MOST_LINES = 8


def competency(snapshot: Snapshot, course: Sequence[Point]) -> Section:
    """The ladder of models with intervals, and how it came about."""
    section = Section("Competency")
    if not snapshot.models:
        section.said.append("Nothing was learnt yet: no pair has been judged. Next: karma enqueue FILE")
        return section
    head = ("model", "logits", "90 % from", "to", "nearest kin", "kinship")
    for skill in skills_of(snapshot):
        section.tables.append((f"Competency, {skill}", head, [_row(one) for one in leaderboard(snapshot, skill)]))
    standings = leaderboard(snapshot, OVERALL, course)
    shown = [standings[place] for place in evenly(len(standings), _MOST_ON_LADDER)]
    _say_thinned(section, len(standings), len(shown))
    marks = [Whisker(one.model, one.mean, one.low, one.high) for one in shown]
    caption = f"Overall competency with its 90 % interval, best first. Version {snapshot.version} of the competencies."
    section.pictures.append((caption, whiskers(marks, "Competency ladder", "competency, logits")))
    moved = [one for one in standings if len(one.course) > 1]
    if not moved:
        section.said.append("The course over time appears once there are two refits.")
        return section
    drawn = [moved[place] for place in evenly(len(moved), _MOST_LINES)]
    caption = "Overall competency over time."
    if len(drawn) < len(moved):
        caption += f" {len(drawn)} of {len(moved)} models, evenly spread over the ladder."
    section.pictures.append((caption, _over_time(drawn)))
    return section


def _over_time(standings: Sequence[Rating]) -> str:
    times = [at for one in standings for at, _mean in one.course]
    now, span_s = max(times), max(times) - min(times)
    units = (("days", 86_400), ("hours", 3600), ("minutes", 60), ("seconds", 1))
    unit, unit_s = next((one for one in units if span_s > 2 * one[1]), units[-1])
    courses = [Course(one.model, [((at - now) / unit_s, mean) for at, mean in one.course]) for one in standings]
    return lines(courses, "Competency over time", f"{unit}, 0 is the last refit", "logits")


def _row(one: Rating) -> tuple[str, ...]:
    return (one.model, *map(signed, (one.mean, one.low, one.high)), one.kin or "unknown", share(one.kinship))


def kinship(snapshot: Snapshot) -> Section:
    """Who is comparable to whom, per skill."""
    section = Section("Kinship", ["The chance that two models are about equally competent. Hatched: not known yet."])
    if len(snapshot.models) < 2:
        section.said.append("It needs two models that were compared.")
        return section
    for skill in skills_of(snapshot):
        standings = leaderboard(snapshot, skill)
        most = _MOST_IN_MATRIX if skill == OVERALL else _MOST_PER_SKILL
        names = [standings[place].model for place in evenly(len(standings), most)]
        cells = _known(snapshot.matrix("kinship", names, skill).tolist())
        thinned = f" {len(names)} of {len(standings)} models." if len(names) < len(standings) else ""
        caption = f"Kinship, {skill}; models by competency, best first.{thinned}"
        section.pictures.append((caption, heat_map(names, cells, f"Kinship, {skill}", SEQUENTIAL)))
        section.tables.append((f"Kinship, {skill}", *_square(names, cells)))
    return section


def wins(quality: Quality, snapshot: Snapshot) -> Section:
    """Who beat whom, by the judges' verdicts."""
    section = Section("Wins", ["Share of decisive judged pairs that the row's model won against the column's."])
    met = sorted({model for pair in quality.wins for model in pair})
    if len(met) < 2:
        section.said.append("No decisive verdict between two models yet.")
        return section
    strength = dict(zip(met, snapshot.vector("mean", met, None).tolist(), strict=True))
    ranked = sorted(met, key=lambda model: -strength[model])
    names = [ranked[place] for place in evenly(len(ranked), _MOST_IN_MATRIX)]
    _say_thinned(section, len(ranked), len(names))
    cells = [[_won(quality, row, column)[0] for column in names] for row in names]
    caption = "Orange: the row's model loses more often; blue: it wins more often. Hatched: the two never met."
    section.pictures.append((caption, heat_map(names, cells, "Win matrix", DIVERGING)))
    counted = [[_won(quality, row, column) for column in names] for row in names]
    rows = [
        (name, *("–" if won is None else f"{won:.2f} of {count}" for won, count in line))
        for name, line in zip(names, counted, strict=True)
    ]
    section.tables.append(("Wins and pairs", ("model", *names), rows))
    return section


def _won(quality: Quality, row: str, column: str) -> tuple[float | None, int]:
    won, lost = quality.wins.get((row, column), 0), quality.wins.get((column, row), 0)
    if row == column:
        return None, won  # two samples of one model: nothing to win
    return (won / (won + lost), won + lost) if won + lost else (None, 0)


def _known(cells: list[list[float]]) -> Matrix:
    return [[None if math.isnan(value) else value for value in row] for row in cells]


def _square(names: Sequence[str], cells: Matrix) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    rows = [
        (name, *("–" if value is None else f"{value:.2f}" for value in line))
        for name, line in zip(names, cells, strict=True)
    ]
    return ("model", *names), rows


def _say_thinned(section: Section, found: int, shown: int) -> None:
    if shown < found:
        section.said.append(f"The picture shows {shown} of {found} models, evenly spread over the ladder.")
