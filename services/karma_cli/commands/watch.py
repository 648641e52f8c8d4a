"""`karma watch`: the stream as it flows, like `top`; a line a look where nobody is at a terminal."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer
from rich.live import Live

from karma.errors import OutageError
from karma_cli.options import HomeOption, Output, PoolOption, environment, formatted, read_pool
from karma_cli.terminal.panels import History
from karma_cli.terminal.poller import Look, Lookout
from karma_cli.terminal.screen import Screen, line

#: How long a key, or a new size of the window, may wait to be seen.
_TICK_S = 0.1
#: The picture is drawn again at least this often, so that its age is true.
_DRAW_S = 1.0


@formatted
def watch(
    output: Output,
    every_s: Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.2, help="Between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, print it, and end.")] = False,
    pool: PoolOption = None,
    home: HomeOption = None,
) -> None:
    """Show live what flows, what is stuck and what it is worth. q ends it, p or the space bar holds the picture.

    Where the output is no terminal: a line a look. With `--json`: the whole live picture a line, with `away` saying
    what cannot be reached. `-q` prints the number of preferences.
    """
    found = environment(home, pool)
    lookout = Lookout(found, read_pool(found))
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        if output.form == "human" and sys.stdout.isatty() and not once:
            _follow(lookout, every_s)
        else:
            _print(lookout, every_s, once, output)
    except KeyboardInterrupt:
        pass
    finally:
        lookout.close()


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Whatever ends this process, the terminal is to be left as it was."""
    raise KeyboardInterrupt


def _print(lookout: Lookout, every_s: float, once: bool, output: Output) -> None:
    """A look after the other on standard output.

    Raises:
        OutageError: nothing could be seen in the only look.
    """
    history = History()
    while True:
        started = time.monotonic()
        look = lookout.look()
        if once and look.picture is None:
            raise OutageError(look.away or "nothing can be seen")
        history.add(look)
        shown = Screen(look, history) if output.form == "human" else line(look)
        preferences = [] if look.picture is None else [look.picture["outcome"]["preferences"]]
        output.give(look.data(), shown, preferences)
        if once:
            return
        time.sleep(max(0.0, started + every_s - time.monotonic()))


def _follow(lookout: Lookout, every_s: float) -> None:
    """The live screen. Looks are taken in a thread, so that keys are answered while a server is slow."""
    console = Output.console()
    history = History()
    look = Look()
    looking: Future[Look] | None = None
    paused = False
    due_at = drawn_at = 0.0
    drawn_size = None
    with (
        _keys() as has_keys,
        Live(console=console, auto_refresh=False, screen=True, redirect_stdout=False, redirect_stderr=False) as live,
    ):
        while True:
            key = _key(has_keys)
            if key in ("q", "Q", "\x04"):
                return
            if key in ("p", "P", " "):
                paused = not paused
            now = time.monotonic()
            news = key != ""
            if looking is not None and looking.done():
                look, looking, news = looking.result(), None, True
                history.add(look)
            if looking is None and not paused and now >= due_at:
                looking = _begin(lookout)
                due_at = now + every_s
            if news or console.size != drawn_size or now - drawn_at >= _DRAW_S:
                size = console.size
                live.update(Screen(look, history, size.height, paused, has_keys), refresh=True)
                drawn_at, drawn_size = now, size


def _begin(lookout: Lookout) -> Future[Look]:
    """A look in a thread that nobody waits for at the end: a server that does not answer keeps no user."""
    under_way: Future[Look] = Future()

    def look() -> None:
        try:
            under_way.set_result(lookout.look())
        except BaseException as cause:  # whoever asks for the result is told
            under_way.set_exception(cause)

    threading.Thread(target=look, name="look", daemon=True).start()
    return under_way


@contextmanager
def _keys() -> Iterator[bool]:
    """Have keys handed over as they are pressed, unseen; whether there is a keyboard at all."""
    if not sys.stdin.isatty():
        yield False
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def go_on(_signal: int, _frame: FrameType | None) -> None:
        tty.setcbreak(descriptor)  # a shell that had stopped us has set the terminal to its own liking

    continued = signal.signal(signal.SIGCONT, go_on)
    try:
        tty.setcbreak(descriptor)
        yield True
    finally:
        signal.signal(signal.SIGCONT, continued)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _key(has_keys: bool) -> str:
    """The key that was pressed, waiting for a moment; empty where there was none."""
    if not has_keys:
        time.sleep(_TICK_S)
        return ""
    if not select.select([sys.stdin], [], [], _TICK_S)[0]:
        return ""
    pressed = os.read(sys.stdin.fileno(), 64).decode(errors="replace")
    return pressed[:1] or "q"  # an end of file: the terminal is gone
