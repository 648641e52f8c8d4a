"""What `karma watch` draws and says of a look, on a real store's picture."""

from __future__ import annotations

import io
import re
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, Group
from rich.table import Table
from typer.testing import CliRunner

from karma.config.environment import Environment
from karma.errors import KarmaError, SettingsError
from karma.store import Store
from karma_cli import app
from karma_cli.options import Output
from karma_cli.terminal.panels import History
from karma_cli.terminal.poller import Look, Lookout
from karma_cli.terminal.screen import Screen, line
from karma_monitor.figures.formatting import duration, rate, sparkline
from tests.support.instant import POOL
from tests.support.memory import Flow, make_pool
from tests.support.redis_server import Redis
from tests.support.stores import sqlite_file

EVIL = "\x1b[31m[bold]evil\x07\u202e\nname"
#: What `EVIL` is shown as: its brackets are no markup, and nothing of it moves a cursor.
SPELLED = r"\x1b[31m[bold]evil\x07\u202e name"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A home whose store holds ten prompts that have ended."""
    environment = Environment.read({"KARMA_HOME": str(tmp_path_factory.mktemp("home"))})
    sqlite_file(environment.home / "karma.db")
    store = Store(environment.database_url)
    flow = Flow(store)
    flow.accept(*({"prompt": f"Say {n}."} for n in range(10)), stream="talk")
    flow.finish()
    store.close()
    return environment


@pytest.fixture(scope="module")
def look(found: Environment) -> Look:
    lookout = Lookout(found, make_pool())
    taken = lookout.look()
    lookout.close()
    return taken


def drawn(look: Look, width: int = 100, lines: int | None = None, colour: bool = False, paused: bool = False) -> str:
    """What a terminal is sent."""
    history = History()
    history.add(look)
    system = "truecolor" if colour else None
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=True, color_system=system, highlight=False).print(
        Screen(look, history, lines, paused, has_keys=True), end=""
    )
    return file.getvalue()


def changed(look: Look, **parts: Any) -> Look:
    """The look with parts of its picture replaced."""
    assert look.picture is not None
    return replace(look, picture={**deepcopy(look.picture), **parts})


def test_a_look_shows_what_the_store_holds(look: Look) -> None:
    shown = drawn(look)
    assert "10 preferences" in shown
    assert "streams: talk" in shown
    for stage, count in {"prompts": 10, "responses": 20, "pairs": 10, "verdicts": 20, "preferences": 10}.items():
        (row,) = [text for text in shown.splitlines() if text.startswith(f"{stage} ")]
        assert row.split()[1] == str(count)
    assert "newest 10 pairs: flips 0.0 %" in shown
    assert "the answer shown first wins (50 % is fair): j 50.0 % [" in shown


def test_an_empty_store_names_the_next_command(tmp_path: Path) -> None:
    lookout = Lookout(Environment.read({"KARMA_HOME": str(tmp_path)}), make_pool())
    shown = drawn(lookout.look())
    lookout.close()
    assert "No prompt was accepted yet. Next: karma enqueue FILE" in shown
    assert "no pair was resolved yet" in shown
    assert "start them with `karma up`" in shown


@pytest.mark.parametrize("width", [20, 80, 200])
@pytest.mark.parametrize("lines", [5, 10, 24, 60])
def test_a_picture_fills_its_window_exactly_and_says_what_is_hidden(look: Look, width: int, lines: int) -> None:
    shown = drawn(look, width, lines)
    rows = shown.split("\n")
    assert len(rows) == lines
    assert max(len(row) for row in rows) <= width
    assert rows[-1].startswith("q ends")
    hidden = len(drawn(look, width).rstrip("\n").split("\n")) - (lines - 1)
    notes = [found[1] for row in rows if (found := re.match(r"… (\d+) more lines", row))]
    assert notes == ([str(hidden + 1)] if hidden > 0 else [])


def test_texts_of_users_and_models_are_shown_as_text(look: Look) -> None:
    worker = {"service": EVIL, "id": EVIL, "state": "silent", "pid": 1, "metrics_port": 1, "beat_age_s": 31.0}
    endpoint = {"name": EVIL, "kind": "model", "calls": 3, "failed": 1, "p50_s": 0.1, "p95_s": 1.0, "tokens_per_s": 9.0}
    hostile = changed(
        look,
        home=EVIL,
        streams=[EVIL],
        paused=[EVIL],
        funnel=[{"stage": "prompts", "count": 1, "losses": [{"reason": EVIL, "count": 1, "link": None}]}],
        queues=[{"queue": EVIL, "stage": EVIL, "length": 3, "age_s": 4.0}],
        workers=[worker],
        endpoints=[{**endpoint, "open": 0, "failures": {EVIL: 1}}],
    )
    hostile = replace(hostile, away=EVIL)
    shown = drawn(hostile, width=400)
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert shown.count(SPELLED) >= 8
    assert "\x1b" not in line(hostile)
    assert "\n" not in line(hostile)


def test_nothing_is_said_by_colour_alone(look: Look) -> None:
    worker = {"service": "judging", "state": "silent", "pid": 1, "metrics_port": 1, "beat_age_s": 31.0}
    bad = changed(look, workers=[{**worker, "id": "judging-1"}], paused=["talk"])
    bad = replace(bad, away="Redis is away", fresh=False)
    assert "\x1b[" in drawn(bad, colour=True)
    plain = drawn(bad)
    for said in ("SILENT for 31 s: judging-1", "PAUSED: talk;", "AWAY: Redis is away", "STALE: "):
        assert said in plain
    assert "HELD: " in drawn(bad, paused=True)


def test_a_line_tells_the_same_and_is_one(look: Look) -> None:
    said = line(look)
    assert "10 preferences (– a minute); 10 of 10 prompts ended, 0 dead" in said
    assert "no `karma up` runs in" in said
    assert line(Look(away="the store is away")).endswith(" AWAY: the store is away")


def test_a_redis_that_comes_and_goes_is_named_and_the_rest_goes_on(found: Environment, tmp_path: Path) -> None:
    redis = Redis(tmp_path / "redis")
    lookout = Lookout(replace(found, redis_url=redis.url), make_pool())
    try:
        away = lookout.look()
        redis.start()
        back = lookout.look()
        redis.kill()
        again = lookout.look()
        redis.start()
        once_more = lookout.look()
    finally:
        lookout.close()
        redis.kill()
    for missing in (away, again):
        assert missing.fresh
        assert missing.away is not None and "Redis" in missing.away
        assert missing.picture is not None and missing.picture["outcome"]["preferences"] == 10
    for there in (back, once_more):
        assert there.away is None


def test_a_store_that_is_away_leaves_the_picture_before_and_says_how_old_it_is(
    found: Environment, look: Look, tmp_path: Path
) -> None:
    nobody = replace(found, database_url="postgresql://karma@127.0.0.1:1/karma")
    lookout = Lookout(nobody, make_pool())
    first = lookout.look()
    assert first.picture is None
    assert first.away is not None and "127.0.0.1:1" in first.away
    assert "Nothing has been seen yet" in drawn(first)
    assert set(first.data()) == {"version", "at", "away"}
    older = replace(look, taken_at=time.monotonic() - 14, fresh=False, away=first.away)
    assert "STALE: the picture is 14 s old" in drawn(older)
    assert "10 preferences" in drawn(older)
    assert set(older.data()) == {"version", "at", "away"}


def test_one_look_at_a_store_that_is_away_cannot_be_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pool.toml").write_text(POOL)
    monkeypatch.setenv("KARMA_DATABASE_URL", "postgresql://karma@127.0.0.1:1/karma")
    done = CliRunner().invoke(app, ["watch", "--once", "--home", str(tmp_path), "--pool", str(tmp_path / "pool.toml")])
    assert isinstance(done.exception, KarmaError)
    assert "127.0.0.1:1" in str(done.exception)
    assert (done.exception.exit_code, done.output) == (1, "")


def test_a_gap_in_the_course_stays_a_gap(look: Look) -> None:
    history = History()
    for value, fresh in ((0.0, True), (4.0, True), (4.0, False), (8.0, True)):
        history.add(replace(changed(look, rates={"pairs_per_s": value}), fresh=fresh))
    assert history.drawn("pairs_per_s") == "▁▅ █"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3599.6, "1 h 0 min"),
        (7384, "2 h 3 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_duration_has_the_units_that_matter(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said


def test_a_rate_has_the_digits_that_matter() -> None:
    assert [rate(value) for value in (None, 0, 0.042, 1.25, 99.95, 1234.4)] == [
        "–",
        "0.0",
        "0.04",
        "1.2",
        "100.0",
        "1,234",
    ]


def test_a_course_of_nothing_is_flat() -> None:
    assert sparkline([0, 0, None]) == "▁▁ "
    assert sparkline([]) == ""


@pytest.mark.parametrize(
    ("flags", "form"),
    [
        ({}, "plain"),
        ({"form": "human"}, "human"),
        ({"form": "json"}, "json"),
        ({"as_json": True}, "json"),
        ({"form": "json", "as_json": True}, "json"),
        ({"quiet": True}, "quiet"),
    ],
)
def test_where_the_output_is_piped_the_flags_choose_its_form(flags: dict[str, Any], form: str) -> None:
    assert Output.chosen(**flags).form == form


def test_a_table_has_lines_for_people_and_none_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("human", "plain"):
        table = Table("one", "two", title="both")
        table.add_row("1", "2")
        Output(form).give({"a": 1}, Group(table), [1])
    human, piped = capsys.readouterr().out.split("both", 2)[1:]
    assert "│ 1   │ 2   │" in human
    assert [line.split() for line in piped.splitlines()] == [[], ["one", "two"], ["1", "2"]]


def test_json_says_its_version_and_a_quiet_result_is_made_plain(capsys: pytest.CaptureFixture[str]) -> None:
    Output("json").give({"path": "x"}, "x", ["x"])
    Output("quiet").give({"path": EVIL}, EVIL, [EVIL, 2])
    assert capsys.readouterr().out.splitlines() == ['{"version": 1, "path": "x"}', SPELLED, "2"]


@pytest.mark.parametrize(
    "flags", [{"quiet": True, "as_json": True}, {"quiet": True, "form": "human"}, {"as_json": True, "form": "human"}]
)
def test_flags_that_contradict_each_other_are_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="leave out|give one"):
        Output.chosen(**flags)
