"""The live screen of `karma watch`, and the same as one line for pipes and logs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from karma.store.schema import EVERYTHING
from karma.telemetry.escaping import escape_control, shortened
from karma_cli.terminal import panels
from karma_cli.terminal.panels import BAD, DOUBTFUL, RateHistory
from karma_cli.terminal.poller import Update
from karma_monitor.figures.formatting import duration, rate, share

#: From this width on, queues and workers stand beside models and judges.
_WIDE = 130
#: The age from which on a status is called stale.
_STALE_S = 3.0


@dataclass(frozen=True)
class Screen:
    """The live status, drawn in as many lines as it needs or as a window has.

    Args:
        update: what to draw.
        history: the rates of the polls before.
        lines: height of the window; lines that do not fit are counted. None: no window, and no list of keys.
        frozen: the user has frozen the screen.
        has_keys: there is a keyboard.
    """

    update: Update
    history: RateHistory
    lines: int | None = None
    frozen: bool = False
    has_keys: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Head and panels from the top, the keys at the bottom."""
        parts = Group(*self._head(), *self._body(options.max_width))
        lines = console.render_lines(parts, options.update(height=None), pad=False)
        foot: list[Segment] = []
        if self.lines is not None:
            room = self.lines - 1
            hidden = len(lines) - room
            if hidden > 0:
                del lines[room - 1 :]
                lines.append(_one_line(console, options, Text(f"… {hidden + 1} more lines; enlarge the window")))
            lines += [[]] * (room - len(lines))
            foot = _one_line(console, options, self._foot())
        for line_ in lines:
            yield from line_
            yield Segment.line()
        yield from foot

    def _head(self) -> Iterator[RenderableType]:
        update, status = self.update, self.update.status
        title = Text("KARMA ", style="bold")
        if status is not None:
            title.append(escape_control(str(status["home"])), style="not bold")
            streams = [shortened(name, 40) for name in status["streams"]]
            more = f" and {len(streams) - 3} more" if len(streams) > 3 else ""
            title.append(f"  streams: {', '.join(streams[:3]) or 'none yet'}{more}", style="not bold")
        yield title
        if self.frozen:
            yield Text(f"FROZEN: this data is {duration(update.age_s)} old", style=DOUBTFUL)
        elif status is not None and (not update.fresh or update.age_s > _STALE_S):
            yield Text(f"STALE: this data is {duration(update.age_s)} old", style=DOUBTFUL)
        if update.unavailable is not None:
            yield Text(f"UNAVAILABLE: {escape_control(update.unavailable)}", style=BAD)
        if status is not None and (paused := status["paused"]):
            named = "everything" if EVERYTHING in paused else ", ".join(shortened(name, 40) for name in paused)
            yield Text(f"PAUSED: {named}; resume with `karma resume`", style=DOUBTFUL)

    def _body(self, width: int) -> Iterator[RenderableType]:
        status = self.update.status
        if status is None:
            yield Text("No data yet." if self.update.unavailable else "loading …")
            return
        yield from panels.problems(status)
        yield panels.outcome(status)
        yield Text()
        yield panels.funnel(status, self.history)
        yield Text()
        yield panels.quality(status)
        yield Text()
        if (canaries := panels.canaries(status)) is not None:
            yield from (canaries, Text())
        left = Group(panels.workers(status), Text(), panels.queues(status))
        right = panels.endpoints(status)
        if width >= _WIDE:
            beside = Table.grid(padding=(0, 4))
            beside.add_row(left, right)
            yield beside
        else:
            yield from (left, Text(), right)

    def _foot(self) -> Text:
        if not self.has_keys:
            return Text("Ctrl-C quits", style="dim")
        return Text(f"q quits   p or space {'resumes' if self.frozen else 'freezes the screen'}", style="dim")


def line(update: Update) -> str:
    """An update in one line."""
    status = update.status if update.fresh else None
    at = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(status["at"] if status else None))
    if status is None:
        return f"{at} UNAVAILABLE: {escape_control(update.unavailable or 'no data yet')}"
    outcome, states, judges = status["outcome"], status["states"], status["quality"]["judges"]
    waiting = sum(queue["length"] for queue in status["queues"])
    oldest = max((queue["age_s"] for queue in status["queues"]), default=None)
    expired = sum(worker["state"] != "ready" for worker in status["workers"])
    flips = [
        f"{escape_control(judge['judge'])} {share(judge['flip_share'])}" for judge in judges if judge["both_orders"]
    ]
    parts = [
        f"{outcome['preferences']:,} preferences ({rate(outcome['preferences_per_min'])} per minute)",
        f"{states['done'] + states['dead']:,} of {sum(states.values()):,} prompts finished, {states['dead']:,} dead",
        f"{waiting:,} batches wait" + (f", the oldest {duration(oldest)}" if waiting else ""),
        f"{len(status['workers']) - expired} workers ready" + (f", {expired} WITHOUT HEARTBEAT" if expired else ""),
        f"order flips: {', '.join(flips) or '–'}",
        *(escape_control(str(problem["summary"])).rstrip(".") for problem in status["problems"]),
        *([f"UNAVAILABLE: {escape_control(update.unavailable)}"] if update.unavailable else []),
    ]
    return f"{at} {'; '.join(parts)}"


def _one_line(console: Console, options: ConsoleOptions, text: Text) -> list[Segment]:
    text.no_wrap, text.overflow = True, "ellipsis"
    return console.render_lines(text, options.update(height=None), pad=False)[0]
