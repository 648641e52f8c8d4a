"""The screen and the lines of `karma watch`, on the live status of a real store."""

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
from karma_cli.output import Output
from karma_cli.terminal.panels import RateHistory
from karma_cli.terminal.poller import Poller, Update
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
    store = Store(environment.database)
    flow = Flow(store)
    flow.accept(*({"prompt": f"Say {n}."} for n in range(10)), stream="talk")
    flow.finish()
    store.close()
    return environment


@pytest.fixture(scope="module")
def update(found: Environment) -> Update:
    poller = Poller(found, make_pool())
    taken = poller.poll()
    poller.close()
    return taken


def drawn(update: Update, width: int = 100, lines: int | None = None, color: bool = False, frozen: bool = False) -> str:
    """What a terminal is sent."""
    history = RateHistory()
    history.add(update)
    system = "truecolor" if color else None
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=True, color_system=system, highlight=False).print(
        Screen(update, history, lines, frozen, has_keys=True), end=""
    )
    return file.getvalue()


def changed(update: Update, **parts: Any) -> Update:
    """The update with parts of its status replaced."""
    assert update.status is not None
    return replace(update, status={**deepcopy(update.status), **parts})


def test_the_screen_shows_what_the_store_holds(update: Update) -> None:
    shown = drawn(update)
    assert "10 preferences" in shown
    assert "streams: talk" in shown
    for stage, count in {"prompts": 10, "responses": 20, "pairs": 10, "verdicts": 20, "preferences": 10}.items():
        (row,) = [text for text in shown.splitlines() if text.startswith(f"{stage} ")]
        assert row.split()[1] == str(count)
    assert "last 10 pairs: ties 0.0 %" in shown
    assert re.search(r"^j +20 +0\.0 % of 10 +50\.0 % \[29\.9 to 70\.1\]", shown, re.MULTILINE)
    assert "last 20 calls of models (" in shown


def test_problems_stand_above_everything_else(update: Update) -> None:
    problems = [
        {"severity": "critical", "summary": "No worker of judging is ready."},
        {"severity": "warning", "summary": "5 prompts are dead."},
    ]
    bad = changed(update, problems=problems)
    rows = drawn(bad).splitlines()
    first = rows.index("CRITICAL: No worker of judging is ready.")
    assert rows[first + 1] == "WARNING: 5 prompts are dead."
    assert "10 preferences" in rows[first + 2]
    assert "No worker of judging is ready; 5 prompts are dead" in line(bad)


def test_each_judge_has_its_own_order_flips(update: Update) -> None:
    assert update.status is not None
    (judge,) = update.status["quality"]["judges"]
    flipping = {**judge, "judge": "coin", "flipped": 3, "flip_share": 0.3}
    one_order = {**judge, "judge": "prior", "both_orders": 0, "flipped": 0, "flip_share": None}
    several = changed(update, quality={**update.status["quality"], "judges": [judge, flipping, one_order]})
    shown = drawn(several)
    for row in (r"j +20 +0\.0 % of 10 ", r"coin +20 +30\.0 % of 10 ", r"prior +20 +– "):
        assert re.search(f"^{row}", shown, re.MULTILINE)
    assert "order flips: j 0.0 %, coin 30.0 %;" in line(several)


def test_judges_stand_beside_pairs_whose_answer_is_known(update: Update) -> None:
    one = {"judge": "j", "accuracy": 0.9, "accuracy_low": 0.6, "accuracy_high": 0.98, "clean": 10, "failed": 1}
    none = {"attack_success": None, "attack_success_low": None, "attack_success_high": None, "attacked": 0}
    shown = drawn(changed(update, canaries=[{**one, **none}]))
    assert re.search(r"^canaries +right about clean ones +attacks that win +failed", shown, re.MULTILINE)
    assert re.search(r"^j +90\.0 % \[60\.0 to 98\.0\] of 10 +– +1$", shown, re.MULTILINE)
    assert "canaries" not in drawn(update)


def test_an_empty_store_names_the_next_command(tmp_path: Path) -> None:
    poller = Poller(Environment.read({"KARMA_HOME": str(tmp_path)}), make_pool())
    shown = drawn(poller.poll())
    poller.close()
    assert "No prompts yet. Next: karma enqueue FILE" in shown
    assert "no resolved pair yet" in shown
    assert "start them with `karma up`" in shown


@pytest.mark.parametrize("width", [20, 80, 200])
@pytest.mark.parametrize("lines", [5, 10, 24, 60])
def test_the_screen_fills_its_window_exactly_and_says_what_is_hidden(update: Update, width: int, lines: int) -> None:
    shown = drawn(update, width, lines)
    rows = shown.split("\n")
    assert len(rows) == lines
    assert max(len(row) for row in rows) <= width
    assert rows[-1].startswith("q quits")
    hidden = len(drawn(update, width).rstrip("\n").split("\n")) - (lines - 1)
    notes = [found[1] for row in rows if (found := re.match(r"… (\d+) more lines", row))]
    assert notes == ([str(hidden + 1)] if hidden > 0 else [])


def test_texts_of_users_and_models_are_shown_as_text(update: Update) -> None:
    worker = {"service": EVIL, "id": EVIL, "state": "silent", "pid": 1, "metrics_port": 1, "beat_age_s": 31.0}
    endpoint = {
        "name": EVIL,
        "kind": "model",
        "calls": 3,
        "failed": 1,
        "p50_s": 0.1,
        "p95_s": 1.0,
        "tokens_per_s": 9.0,
        "window_s": 9.0,
    }
    assert update.status is not None
    (judge,) = update.status["quality"]["judges"]
    hostile = changed(
        update,
        home=EVIL,
        streams=[EVIL],
        paused=[EVIL],
        funnel=[{"stage": "prompts", "count": 1, "losses": [{"reason": EVIL, "count": 1, "link": None}]}],
        queues=[{"queue": EVIL, "stage": EVIL, "length": 3, "age_s": 4.0}],
        workers=[worker],
        endpoints=[{**endpoint, "open": 0, "failures": {EVIL: 1}}],
        problems=[{"severity": EVIL, "summary": EVIL}],
        quality={**update.status["quality"], "judges": [{**judge, "judge": EVIL}]},
    )
    hostile = replace(hostile, unavailable=EVIL)
    shown = drawn(hostile, width=400)
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert shown.count(SPELLED) >= 8
    assert "\x1b" not in line(hostile)
    assert "\n" not in line(hostile)


def test_nothing_is_said_by_color_alone(update: Update) -> None:
    expired = {"severity": "warning", "summary": "The heartbeat of judging-1 expired."}
    bad = changed(update, problems=[expired], paused=["talk"])
    bad = replace(bad, unavailable="Redis does not answer", fresh=False)
    assert "\x1b[" in drawn(bad, color=True)
    plain = drawn(bad)
    for said in ("WARNING: The heartbeat of judging-1", "PAUSED: talk;", "UNAVAILABLE: Redis does not", "STALE: "):
        assert said in plain
    assert "FROZEN: " in drawn(bad, frozen=True)


def test_a_line_holds_the_same_figures(update: Update) -> None:
    said = line(update)
    assert "10 preferences (– per minute); 10 of 10 prompts finished, 0 dead" in said
    assert "no `karma up` runs in" in said
    assert line(Update(unavailable="the store is locked")).endswith(" UNAVAILABLE: the store is locked")


def test_a_redis_that_comes_and_goes_is_named_and_the_rest_is_still_shown(found: Environment, tmp_path: Path) -> None:
    redis = Redis(tmp_path / "redis")
    poller = Poller(replace(found, redis_url=redis.url), make_pool())
    try:
        before = poller.poll()
        redis.start()
        back = poller.poll()
        redis.kill()
        again = poller.poll()
        redis.start()
        once_more = poller.poll()
    finally:
        poller.close()
        redis.kill()
    for missing in (before, again):
        assert missing.fresh
        assert missing.unavailable is not None and "Redis" in missing.unavailable
        assert missing.status is not None and missing.status["outcome"]["preferences"] == 10
    for there in (back, once_more):
        assert there.unavailable is None


def test_while_the_store_is_unavailable_the_last_status_is_shown_with_its_age(
    found: Environment, update: Update, tmp_path: Path
) -> None:
    nobody = replace(found, database_url="postgresql://karma@127.0.0.1:1/karma")
    poller = Poller(nobody, make_pool())
    first = poller.poll()
    assert first.status is None
    assert first.unavailable is not None and "127.0.0.1:1" in first.unavailable
    assert "No data yet" in drawn(first)
    assert set(first.data()) == {"version", "at", "away"}
    older = replace(update, taken_at=time.monotonic() - 14, fresh=False, unavailable=first.unavailable)
    assert "STALE: this data is 14 s old" in drawn(older)
    assert "10 preferences" in drawn(older)
    assert set(older.data()) == {"version", "at", "away"}


def test_a_single_poll_of_an_unavailable_store_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pool.toml").write_text(POOL)
    monkeypatch.setenv("KARMA_DATABASE_URL", "postgresql://karma@127.0.0.1:1/karma")
    done = CliRunner().invoke(app, ["watch", "--once", "--home", str(tmp_path), "--pool", str(tmp_path / "pool.toml")])
    assert isinstance(done.exception, KarmaError)
    assert "127.0.0.1:1" in str(done.exception)
    assert (done.exception.exit_code, done.output) == (1, "")


def test_a_gap_in_a_trend_stays_a_gap(update: Update) -> None:
    history = RateHistory()
    for value, fresh in ((0.0, True), (4.0, True), (4.0, False), (8.0, True)):
        history.add(replace(changed(update, rates={"pairs_per_s": value}), fresh=fresh))
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


def test_a_trend_of_nothing_is_flat() -> None:
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
    assert Output.from_flags(**flags).form == form


def test_a_table_has_lines_for_people_and_none_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("human", "plain"):
        table = Table("one", "two", title="both")
        table.add_row("1", "2")
        Output(form).result({"a": 1}, Group(table), [1])
    human, piped = capsys.readouterr().out.split("both", 2)[1:]
    assert "│ 1   │ 2   │" in human
    assert [line.split() for line in piped.splitlines()] == [[], ["one", "two"], ["1", "2"]]


def test_json_has_its_version_and_a_quiet_result_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    Output("json").result({"path": "x"}, "x", ["x"])
    Output("quiet").result({"path": EVIL}, EVIL, [EVIL, 2])
    assert capsys.readouterr().out.splitlines() == ['{"version": 1, "path": "x"}', SPELLED, "2"]


@pytest.mark.parametrize(
    "flags", [{"quiet": True, "as_json": True}, {"quiet": True, "form": "human"}, {"as_json": True, "form": "human"}]
)
def test_flags_that_contradict_each_other_are_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="leave out|give one"):
        Output.from_flags(**flags)
