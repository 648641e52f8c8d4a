"""The parts of the live picture on a terminal. Every text in it is a user's or a model's, and is made plain."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from karma_cli.terminal.poller import Look
from karma_monitor.escaping import escape_control, shortened
from karma_monitor.figures.formatting import duration, rate, share, sparkline

Picture = Mapping[str, Any]

#: Looks of which the rates are drawn.
_DRAWN = 24
_MOST_QUEUES = 6
_MOST_ENDPOINTS = 10

# Okabe and Ito's colours, which nearly everybody can tell apart. What they say is also said in words.
BAD = "bold #d55e00"
DOUBTFUL = "#e69f00"
CALM = "#56b4e9"


class History:
    """The rates of the last looks, by name."""

    def __init__(self) -> None:
        self._rates: dict[str, deque[float | None]] = {}

    def add(self, look: Look) -> None:
        """Keep a look's rates; of one that saw nothing, that nothing is known."""
        if look.picture is None:
            return
        for name, value in look.picture["rates"].items():
            self._rates.setdefault(name, deque(maxlen=_DRAWN)).append(value if look.fresh else None)

    def drawn(self, name: str) -> str:
        """A rate's course as a row of bars."""
        return sparkline(self._rates.get(name, ()))


def outcome(picture: Picture) -> Text:
    """What is worth having, in one line."""
    if not sum(picture["states"].values()):
        return Text("No prompt was accepted yet. Next: karma enqueue FILE", style="bold")
    found = picture["outcome"]
    per_min, gain = found["preferences_per_min"], found["yield"]
    said = [
        f"{found['preferences']:,} preferences" + ("" if per_min is None else f", {rate(per_min)} a minute"),
        f"yield {'–' if gain is None else f'{gain:.2f}'} a prompt",
    ]
    if found["cost"] is not None:
        each = found["cost_per_preference"]
        currency = escape_control(str(found["currency"]))
        said.append(f"cost {found['cost']:,.2f} {currency}" + ("" if each is None else f", {each:.5f} each"))
    if found["time_left_s"]:
        said.append(f"{duration(found['time_left_s'])} left")
    if found["budget_left"] is not None:
        said.append(f"budget left {share(found['budget_left'])}")
    return Text(" · ".join(said), style="bold")


def funnel(picture: Picture, history: History) -> Table:
    """The stages: how many, how many a second, and what was lost at each."""
    table = _table()
    table.add_column("")
    table.add_column("count", justify="right")
    table.add_column("a second", justify="right")
    table.add_column("course", no_wrap=True)
    table.add_column("lost on the way")
    for step in picture["funnel"]:
        name = f"{step['stage']}_per_s"
        losses = [f"{loss['count']:,} {shortened(str(loss['reason']), 60)}" for loss in step["losses"] if loss["count"]]
        course = Text(history.drawn(name), style=CALM)
        per_s = rate(picture["rates"].get(name))
        table.add_row(Text(escape_control(step["stage"])), f"{step['count']:,}", per_s, course, Text(", ".join(losses)))
    return table


def quality(picture: Picture) -> Text:
    """What the newest pairs say about the data, in two or three lines."""
    found = picture["quality"]
    if not found["window"]:
        return Text("quality: no pair was resolved yet")
    expected = found["longer_expected"]
    said = [
        f"flips {share(found['flip_share'])}",
        f"ties {share(found['tie_share'])}",
        f"the longer one is chosen {share(found['longer_wins'])}"
        + ("" if expected is None else f" (expected {share(expected)})"),
        f"judged {share(found['judged_share'])}",
        f"judges agree {share(found['agreement'])}",
    ]
    firsts = [
        f"{shortened(one['judge'], 40)} {share(one['share'])} {_interval(one)}" for one in found["first_position"]
    ]
    lines = [
        f"newest {found['window']:,} pairs: {' · '.join(said)}",
        f"the answer shown first wins (50 % is fair): {' · '.join(firsts) or '–'}",
    ]
    error = found["label_error"]
    if error is not None:
        wrong = f"{share(error['estimate'])} {_interval(error)}"
        lines.append(f"wrong labels among the predicted: {wrong}, {error['audited']:,} audited")
    return Text("\n".join(lines))


def _interval(one: Mapping[str, Any]) -> str:
    if one["low"] is None or one["high"] is None:
        return ""
    return f"[{100 * one['low']:.1f} to {100 * one['high']:.1f}]"


def workers(picture: Picture) -> Text:
    """How many workers of each service are ready; each silent one on a line of its own."""
    ready = Counter(worker["service"] for worker in picture["workers"] if worker["state"] == "ready")
    named = ", ".join(f"{escape_control(service)} {count}" for service, count in sorted(ready.items()))
    redelivered = picture["redelivered"]
    text = Text(f"workers: {named or 'none; start them with `karma up`'} · {picture['in_flight']:,} prompts in flight")
    text.append("" if redelivered is None else f" · {redelivered:,} batches delivered again")
    for worker in picture["workers"]:
        if worker["state"] != "ready":
            text.append(f"\nSILENT for {duration(worker['beat_age_s'])}: {escape_control(worker['id'])}", style=BAD)
    return text


def queues(picture: Picture) -> RenderableType:
    """The queues that hold something, the one with the oldest batch first."""
    waiting = sorted((queue for queue in picture["queues"] if queue["length"]), key=lambda queue: -queue["age_s"])
    if not waiting:
        return Text("queues: all empty" if picture["queues"] else "queues: unknown")
    table = _table()
    table.add_column("queue")
    table.add_column("batches", justify="right")
    table.add_column("oldest", justify="right")
    for queue in waiting[:_MOST_QUEUES]:
        table.add_row(Text(shortened(queue["queue"], 40)), f"{queue['length']:,}", duration(queue["age_s"]))
    rest = waiting[_MOST_QUEUES:]
    if rest:
        table.add_row(f"{len(rest)} more", f"{sum(queue['length'] for queue in rest):,}", "")
    return table


def endpoints(picture: Picture) -> RenderableType:
    """Models and judges; those with failures first, then those that are asked most."""
    known = sorted(picture["endpoints"], key=lambda one: (-one["failed"], -one["calls"]))
    if not known:
        return Text("models and judges: nothing was asked of any yet")
    table = _table()
    table.add_column("model or judge")
    for title in ("recent calls", "failed", "median", "95 %", "tokens/s", "open"):
        table.add_column(title, justify="right")
    for one in known[:_MOST_ENDPOINTS]:
        name = Text(shortened(str(one["name"]), 40))
        name.append(" (judge)" if one["kind"] == "judge" else "")
        failed = Text(f"{one['failed']:,}{_why(one['failures'])}", style=BAD if one["failed"] else "")
        speed = (duration(one["p50_s"]), duration(one["p95_s"]), rate(one["tokens_per_s"]))
        table.add_row(name, f"{one['calls']:,}", failed, *speed, f"{one['open']:,}")
    if len(known) > _MOST_ENDPOINTS:
        table.add_row(f"{len(known) - _MOST_ENDPOINTS} more", *[""] * 6)
    return table


def _why(failures: Mapping[str, int]) -> str:
    """The most frequent reason, short."""
    if not failures:
        return ""
    return f" ({shortened(max(failures, key=lambda reason: failures[reason]), 30)})"


def _table() -> Table:
    return Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
