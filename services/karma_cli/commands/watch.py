"""`karma watch`: the live status, on a screen like `top`, or one line per poll where the output is no terminal."""

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
from contextlib import closing, contextmanager, suppress
from types import FrameType
from typing import Annotated

import typer
from rich.live import Live

from karma.config.pool import Pool
from karma.errors import OutageError
from karma_cli.options import HomeOption, PoolOption, read_environment
from karma_cli.output import Output, with_format_flags
from karma_cli.terminal.panels import RateHistory
from karma_cli.terminal.poller import Poller, Update
from karma_cli.terminal.screen import Screen, line

#: The longest that a key or a new window size waits.
_KEY_WAIT_S = 0.1
#: The screen is redrawn at least this often, so that its age is right.
_REDRAW_S = 1.0


@with_format_flags
def watch(
    output: Output,
    every_s: Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.2, help="Seconds between polls.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Poll once, print the status, and exit.")] = False,
    pool: PoolOption = None,
    home: HomeOption = None,
) -> None:
    """Show live throughput, losses, pair quality, queues and endpoints.

    q quits; p or the space bar freezes the screen. In a pipe it prints one line per poll.

    `--json` prints the whole live status as one line per poll; `away` says what is unavailable. `-q` prints the number
    of preferences.
    """
    env = read_environment(home, pool)
    for ending in (signal.SIGTERM, signal.SIGHUP):  # like Ctrl-C, so that the terminal is restored
        signal.signal(ending, signal.default_int_handler)
    with closing(Poller(env, Pool.read(env.pool_path))) as poller, suppress(KeyboardInterrupt):
        if output.form == "human" and sys.stdout.isatty() and not once:
            _run_screen(poller, every_s)
        else:
            _print_updates(poller, every_s, once, output)


def _print_updates(poller: Poller, every_s: float, once: bool, output: Output) -> None:
    """Print one update per poll.

    Raises:
        OutageError: the only poll found nothing to print.
    """
    history = RateHistory()
    while True:
        started = time.monotonic()
        update = poller.poll()
        if once and update.status is None:
            raise OutageError(update.unavailable or "no data yet")
        history.add(update)
        shown = Screen(update, history) if output.form == "human" else line(update)
        preferences = [] if update.status is None else [update.status["outcome"]["preferences"]]
        output.result(update.data(), shown, preferences)
        if once:
            return
        time.sleep(max(0.0, started + every_s - time.monotonic()))


def _run_screen(poller: Poller, every_s: float) -> None:
    """Draw the screen until the user quits. A thread polls, so that keys work while a server is slow."""
    console = Output.console()
    history = RateHistory()
    update = Update()
    polling: Future[Update] | None = None
    frozen = False
    due_at = drawn_at = 0.0
    drawn_size = None
    with (
        _keyboard() as has_keys,
        Live(console=console, auto_refresh=False, screen=True, redirect_stdout=False, redirect_stderr=False) as live,
    ):
        while True:
            key = _pressed_key(has_keys)
            if key in ("q", "Q", "\x04"):
                return
            if key in ("p", "P", " "):
                frozen = not frozen
            now = time.monotonic()
            changed = key != ""
            if polling is not None and polling.done():
                update, polling, changed = polling.result(), None, True
                history.add(update)
            if polling is None and not frozen and now >= due_at:
                polling = _poll_in_thread(poller)
                due_at = now + every_s
            if changed or console.size != drawn_size or now - drawn_at >= _REDRAW_S:
                size = console.size
                live.update(Screen(update, history, size.height, frozen, has_keys), refresh=True)
                drawn_at, drawn_size = now, size


def _poll_in_thread(poller: Poller) -> Future[Update]:
    """Poll in a daemon thread: the user can quit while a server does not answer."""
    future: Future[Update] = Future()

    def poll() -> None:
        try:
            future.set_result(poller.poll())
        except BaseException as cause:  # raised where the result is read
            future.set_exception(cause)

    threading.Thread(target=poll, name="poll", daemon=True).start()
    return future


@contextmanager
def _keyboard() -> Iterator[bool]:
    """Read keys as they are pressed, without echo; yields whether there is a keyboard."""
    if not sys.stdin.isatty():
        yield False
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def restore(_signal: int, _frame: FrameType | None) -> None:
        tty.setcbreak(descriptor)  # the shell changed the terminal while this process was stopped

    previous = signal.signal(signal.SIGCONT, restore)
    try:
        tty.setcbreak(descriptor)
        yield True
    finally:
        signal.signal(signal.SIGCONT, previous)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _pressed_key(has_keys: bool) -> str:
    """The pressed key; empty if none was pressed within a moment."""
    if not has_keys:
        time.sleep(_KEY_WAIT_S)
        return ""
    if not select.select([sys.stdin], [], [], _KEY_WAIT_S)[0]:
        return ""
    pressed = os.read(sys.stdin.fileno(), 64).decode(errors="replace")
    return pressed[:1] or "q"  # end of file: the terminal is gone
