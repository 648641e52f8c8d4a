"""A look at a stream on a terminal, as large as its window, and in a line."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from karma.store.schema import EVERYTHING
from karma_cli.terminal import panels
from karma_cli.terminal.panels import BAD, DOUBTFUL, History
from karma_cli.terminal.poller import Look
from karma_monitor.escaping import escape_control, shortened
from karma_monitor.figures.formatting import duration, rate, share

#: From this width on, queues and workers stand beside models and judges.
_WIDE = 130
#: An older picture says how old it is.
_STALE_S = 3.0


class Screen:
    """A look, drawn in as many lines as it needs, or in those that a window has.

    Args:
        look: what to draw.
        history: the course of its rates.
        lines: of the window; what finds no room is counted. None: no window, and no keys to name.
        paused: the picture is held.
        has_keys: a keyboard is there.
    """

    def __init__(
        self, look: Look, history: History, lines: int | None = None, paused: bool = False, has_keys: bool = False
    ) -> None:
        self._look = look
        self._history = history
        self._lines = lines
        self._paused = paused
        self._has_keys = has_keys

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Head and picture from above, the keys at the bottom."""
        parts = Group(*self._head(), *self._body(options.max_width))
        lines = console.render_lines(parts, options.update(height=None), pad=False)
        foot: list[Segment] = []
        if self._lines is not None:
            room = self._lines - 1
            hidden = len(lines) - room
            if hidden > 0:
                del lines[room - 1 :]
                lines.append(_one_line(console, options, Text(f"… {hidden + 1} more lines in a taller window")))
            lines += [[]] * (room - len(lines))
            foot = _one_line(console, options, self._foot())
        for one in lines:
            yield from one
            yield Segment.line()
        yield from foot

    def _head(self) -> Iterator[RenderableType]:
        look = self._look
        title = Text("KARMA ", style="bold")
        if look.picture is not None:
            title.append(escape_control(str(look.picture["home"])), style="not bold")
            streams = [shortened(name, 40) for name in look.picture["streams"]]
            more = f" and {len(streams) - 3} more" if len(streams) > 3 else ""
            title.append(f"  streams: {', '.join(streams[:3]) or 'none yet'}{more}", style="not bold")
        yield title
        yield from _state(look, self._paused)
        if look.picture is not None and look.picture["paused"]:
            stopped = look.picture["paused"]
            named = "everything" if EVERYTHING in stopped else ", ".join(shortened(name, 40) for name in stopped)
            yield Text(f"PAUSED: {named}; karma resume goes on", style=DOUBTFUL)

    def _body(self, width: int) -> Iterator[RenderableType]:
        picture = self._look.picture
        if picture is None:
            yield Text("Nothing has been seen yet." if self._look.away else "looking …")
            return
        yield panels.outcome(picture)
        yield Text()
        yield panels.funnel(picture, self._history)
        yield Text()
        yield panels.quality(picture)
        yield Text()
        left = Group(panels.workers(picture), Text(), panels.queues(picture))
        right = panels.endpoints(picture)
        if width >= _WIDE:
            beside = Table.grid(padding=(0, 4))
            beside.add_row(left, right)
            yield beside
        else:
            yield left
            yield Text()
            yield right

    def _foot(self) -> Text:
        if not self._has_keys:
            return Text("Ctrl-C ends", style="dim")
        return Text(f"q ends   p or space {'goes on' if self._paused else 'holds the picture'}", style="dim")


def line(look: Look) -> str:
    """A look in one line, for logs and pipes."""
    picture = look.picture if look.fresh else None
    at = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(picture["at"] if picture else None))
    if picture is None:
        return f"{at} AWAY: {escape_control(look.away or 'nothing can be seen')}"
    outcome, states = picture["outcome"], picture["states"]
    waiting = sum(queue["length"] for queue in picture["queues"])
    oldest = max((queue["age_s"] for queue in picture["queues"]), default=None)
    silent = sum(worker["state"] != "ready" for worker in picture["workers"])
    said = [
        f"{outcome['preferences']:,} preferences ({rate(outcome['preferences_per_min'])} a minute)",
        f"{states['done'] + states['dead']:,} of {sum(states.values()):,} prompts ended, {states['dead']:,} dead",
        f"{waiting:,} batches wait" + (f", the oldest {duration(oldest)}" if waiting else ""),
        f"{len(picture['workers']) - silent} workers ready" + (f", {silent} SILENT" if silent else ""),
        f"flips {share(picture['quality']['flip_share'])}",
        *([f"AWAY: {escape_control(look.away)}"] if look.away else []),
    ]
    return f"{at} {'; '.join(said)}"


def _one_line(console: Console, options: ConsoleOptions, text: Text) -> list[Segment]:
    text.no_wrap, text.overflow = True, "ellipsis"
    return console.render_lines(text, options.update(height=None), pad=False)[0]


def _state(look: Look, paused: bool) -> Iterator[Text]:
    """What is to be known of the picture itself: that it is held, old, or lacks something."""
    if paused:
        yield Text(f"HELD: the picture is {duration(look.age_s)} old", style=DOUBTFUL)
    elif look.picture is not None and (not look.fresh or look.age_s > _STALE_S):
        yield Text(f"STALE: the picture is {duration(look.age_s)} old", style=DOUBTFUL)
    if look.away is not None:
        yield Text(f"AWAY: {escape_control(look.away)}", style=BAD)
