"""`karma models`: each model's competency with its interval, trend and nearest kin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection

from karma.errors import SettingsError, did_you_mean
from karma.ranking.snapshot import Snapshot
from karma.store.counting import outcomes, resolutions_by_outcome
from karma.store.latest_snapshot import LatestSnapshot
from karma.telemetry.escaping import shorten_middle
from karma_cli.options import HomeOption, open_store_to_read, read_environment
from karma_cli.output import Output, warn, with_format_flags
from karma_monitor.figures.models.common_changes import common_change_facts, common_change_sentence
from karma_monitor.figures.models.leaderboard import Rating, leaderboard, skills_of
from karma_monitor.figures.models.misfit import misfit_facts, misfit_sentence
from karma_monitor.figures.models.refits import Refits
from karma_monitor.figures.predictions import win_sentence, win_tail_of
from karma_monitor.queries.failures import reasons

#: Refits of which a trend is drawn.
_TREND_POINTS = 24
#: Reasons named where there are no ratings.
_REASONS = 3
#: Misfit pairs named below the tables.
_MISFIT_PAIRS = 5
#: Below this width only every other refit is drawn.
_WIDE = 120
#: Shortest length to which a name is cut.
_NAME_CHARACTERS = 12
_GAP = 2  # columns between two columns of a table
#: Fields of a rating in `--json`.
_FIELDS = (
    *("mean", "deviation", "low", "high", "comparisons", "beats_next"),
    *("kin", "kinship", "change", "change_s", "course"),
)
#: Models named of a group that no verdict connects to the others.
_OF_GROUP = 5


@with_format_flags
def models(
    output: Output,
    skill: Annotated[str | None, typer.Option("--skill", help="Only this skill; `overall`: the mean of all.")] = None,
    home: HomeOption = None,
) -> None:
    """Show each model's competency with its interval, trend and nearest kin.

    `-q` prints the models' names, best first.
    """
    with closing(open_store_to_read(read_environment(home))) as store, store.reading() as transaction:
        snapshot = LatestSnapshot().newest(transaction)
        history = Refits(_TREND_POINTS).read(transaction)
        why = "" if snapshot.models else _why_none(transaction.ledger.connection)
    if skill is not None and skill not in skills_of(snapshot):
        raise SettingsError(f"no skill is called {skill!r}{did_you_mean(skill, skills_of(snapshot))}")
    skills = skills_of(snapshot) if skill is None else (skill,)
    boards = {name: leaderboard(snapshot, name, history) for name in skills}
    if not snapshot.models:
        warn(f"No ratings yet: {why}")
    tables = None
    if snapshot.models:
        notes = [*apart_lines(snapshot), *misfit_lines(snapshot), *common_change_lines(snapshot)]
        notes += [Text(), Text(_capital(win_sentence(win_tail_of(snapshot))))]
        tables = Group(competencies(boards, Output.console().width), *notes)
    output.result(_as_data(snapshot, boards), tables, [rating.model for rating in boards[skills[0]]])


def _why_none(connection: Connection) -> str:
    """Why there are no ratings: nothing was judged, or calls failed."""
    unscored = outcomes(resolutions_by_outcome(connection))["unscored"]
    failed = reasons(connection)
    if unscored:  # what failed before a pair was formed is not to blame
        failed = [reason for reason in failed if reason.of == "judge"]
    why = "".join(
        f"; {reason.of} {reason.name}, {reason.count:,} failed: {reason.example}" for reason in failed[:_REASONS]
    )
    state = f"{unscored:,} pairs unscored" if unscored else "no pair has been judged"
    return f"{state}{why}. {'All reasons: karma failures' if failed else 'Next: karma enqueue FILE'}"


def competencies(boards: Mapping[str, Sequence[Rating]], width: int) -> RenderableType:
    """The models' competencies per skill, in as many tables as fit into the width. No number is ever cut.

    Order, trend, nearest kin and effective number of verdicts are those of the first skill. Long names are shortened
    in the middle.

    Args:
        boards: skill → ratings of the same models.
        width: of the terminal, in columns.
    """
    first, *others = boards
    characters = max(_NAME_CHARACTERS, width // 5)
    board = boards[first]
    columns = [(shorten_middle(first, characters), [_competency(rating) for rating in board])]
    if any(rating.change is not None for rating in board):
        columns.append(("trend", [_trend(rating, width) for rating in board]))
    columns.append(("nearest kin", [_kin(rating, characters) for rating in board]))
    columns.append(("verdicts", [f"{rating.comparisons:,.0f}" for rating in board]))
    for skill in others:
        by_model = {rating.model: _competency(rating) for rating in boards[skill]}
        columns.append((shorten_middle(skill, characters), [by_model[rating.model] for rating in board]))
    names = [shorten_middle(rating.model, characters) for rating in board]
    parts: list[RenderableType] = [Text("competency, logits ± 90 % interval", style="italic")]
    while columns:
        fitting = 1
        while fitting < len(columns) and _width(("model", names), *columns[: fitting + 1]) <= width:
            fitting += 1
        parts += [_table(("model", names), *columns[:fitting]), Text()]
        columns = columns[fitting:]
    return Group(*parts[:-1])


def apart_lines(snapshot: Snapshot) -> list[Text]:
    """The groups of models that no verdict connects; nothing where none are apart."""
    groups = snapshot.groups
    if not groups:
        return []
    named = [", ".join(group[:_OF_GROUP]) + " …" * (len(group) > _OF_GROUP) for group in groups]
    what = f"No verdict connects these {len(groups)} groups, so the gaps between them are unknown:"
    return [Text(), Text("\n  ".join([what, *named]))]


def misfit_lines(snapshot: Snapshot) -> list[Text]:
    """The pairs of models whose verdicts contradict their competencies; nothing where there is none."""
    pairs = misfit_facts(snapshot)["pairs"]
    if not pairs:
        return []
    verdicts = f"the verdicts on {len(pairs)} pair{'s' if len(pairs) > 1 else ''} of models"
    lines = [Text(), Text(f"Misfit: one competency per model does not explain {verdicts}")]
    lines += [Text(f"  {misfit_sentence(pair)}") for pair in pairs[:_MISFIT_PAIRS]]
    more = len(pairs) - _MISFIT_PAIRS
    return lines if more <= 0 else [*lines, Text(f"  {more} more: karma models --json")]


def common_change_lines(snapshot: Snapshot) -> list[Text]:
    """The changes of all competencies at once; nothing where there is none."""
    changes = common_change_facts(snapshot)
    lines = [Text(f"  {common_change_sentence(change)}") for change in changes]
    return [Text(), Text("Common changes: verdicts since then differ from those before"), *lines] if lines else []


def _width(*columns: tuple[str, Sequence[str]]) -> int:
    return sum(max(map(cell_len, (title, *cells))) + _GAP for title, cells in columns) - _GAP


def _table(*columns: tuple[str, Sequence[str]]) -> Table:
    table = Table(box=SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for title, _cells in columns:
        table.add_column(Text(title), no_wrap=True)
    for row in zip(*(cells for _title, cells in columns), strict=True):
        table.add_row(*map(Text, row))
    return table


def _competency(rating: Rating) -> str:
    return f"{_tenths(rating.mean):+.1f} ± {rating.high - rating.mean:.1f}"


def _kin(rating: Rating, characters: int) -> str:
    if rating.kin is None:
        return "unknown" if rating.kinship is None else "none"
    return f"{shorten_middle(rating.kin, characters)} {rating.kinship:.2f}"


def _trend(rating: Rating, width: int) -> str:
    if rating.change is None or rating.change_s is None:
        return "–"
    line = rating.sparkline if width >= _WIDE else rating.sparkline[::-2][::-1]
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    unit, unit_s = next((unit for unit in units if rating.change_s >= 0.95 * unit[1]), units[-1])
    return f"{line} {_tenths(rating.change):+.1f} in {rating.change_s / unit_s:.0f} {unit}"


def _as_data(snapshot: Snapshot, boards: Mapping[str, Sequence[Rating]]) -> dict[str, Any]:
    models: dict[str, dict[str, Any]] = {model: {} for model in snapshot.models}
    for skill, ratings in boards.items():
        for rating in ratings:
            models[rating.model][skill] = {name: getattr(rating, name) for name in _FIELDS}
    return {
        "version": 1,
        "snapshot": snapshot.version,
        "interval": 0.9,
        "groups": [list(group) for group in snapshot.groups],
        "models": models,
        "misfit": misfit_facts(snapshot),
        "common_changes": common_change_facts(snapshot),
        "win_tail": win_tail_of(snapshot),
    }


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _tenths(value: float) -> float:
    """The value rounded to tenths; zero has no sign."""
    return round(value, 1) + 0.0
