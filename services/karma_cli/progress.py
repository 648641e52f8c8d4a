"""Progress of a command: on standard error, on a terminal only, and not with `-q`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from rich.progress import Progress
from rich.text import Text

from karma.config.environment import Environment
from karma.errors import StoreOutageError
from karma.store import Store, Transaction
from karma.store.streams import stream_ends
from karma.store.until import progress_of
from karma.telemetry.escaping import escape_control
from karma.telemetry.progress_bars import progress_bars
from karma_cli.options import any_worker
from karma_cli.output import Output, console, warn
from karma_cli.poll_interval import PollInterval

#: Said by a command that waits.
NO_WORKER = "no worker runs; start karma up. Until then this waits; Ctrl-C loses nothing that was accepted."

_POLL_S = 0.2  # while the store is unavailable
_LOOK_S = 1.0  # between two looks at the workers
_DRAW_S = 0.1
_READ_BYTES = 1 << 20

_T = TypeVar("_T")


def progress(output: Output, hidden: bool = False) -> Progress:
    """Progress bars for one command; without a terminal, or `hidden`, they draw nothing."""
    return progress_bars(console, hidden or not output.shows_progress)


@contextmanager
def working(output: Output, text: str) -> Iterator[Callable[[str], None]]:
    """A line that says what the command is doing; yields the function that changes it."""
    if not output.shows_progress:
        yield lambda _text: None
        return
    with console.status(Text(escape_control(text))) as status:
        yield lambda changed: status.update(Text(escape_control(changed)))


def track(
    items: Iterable[_T], bar: Progress, description: str, total: int | None, size: Callable[[_T], int] = lambda _item: 1
) -> Iterator[_T]:
    """Yield the items and count them on the bar; `size` is what an item counts for."""
    task = bar.add_task(description, total=total)
    count, drawn_at = 0, 0.0
    for item in items:
        yield item
        count += size(item)
        if time.monotonic() - drawn_at > _DRAW_S:
            bar.update(task, completed=count)
            drawn_at = time.monotonic()
    bar.update(task, completed=count, total=count)


def wait_for_prompts(
    store: Store, bar: Progress, streams: Sequence[str] | None = None, on_poll: Iterable[Callable[[], None]] = ()
) -> None:
    """Wait until every prompt of the streams (None: of the store) is done or dead. An outage only delays the end.

    Prompts that stay accepted because their stream has reached its end (`karma enqueue --until`) are not waited for.
    """
    answered, finished = (bar.add_task(f"prompts {state}", total=None) for state in ("answered", "finished"))
    interval = PollInterval(is_shown=not bar.disable)
    while True:
        for look in on_poll:
            look()
        started, pause_s = time.monotonic(), _POLL_S
        with suppress(StoreOutageError):
            with store.reading() as transaction:
                states = transaction.ledger.count_states(streams)
                states["accepted"] -= _left_out(transaction, streams)
            total, ended = sum(states.values()), states["done"] + states["dead"]
            bar.update(answered, total=total, completed=ended + states["answered"] + states["matched"])
            bar.update(finished, total=total, completed=ended)
            if ended == total:
                return
            now = time.monotonic()
            pause_s = interval.after(now, ended, total - ended, now - started)
        time.sleep(pause_s)


def _left_out(transaction: Transaction, among: Sequence[str] | None) -> int:
    """The accepted prompts of streams that reached their end."""
    connection = transaction.ledger.connection
    ends = {name: end for name, end in stream_ends(connection).items() if among is None or name in among}
    found = ((progress_of(connection, stream), end) for stream, end in ends.items())
    return sum(progress.accepted for progress, end in found if progress.is_reached(end))


class WorkerWatch:
    """Says when no worker runs while a command waits, and when one runs again; called at each poll.

    Args:
        env: names the Redis that has the heartbeats.
        said: that none runs was said before the wait.
    """

    def __init__(self, env: Environment, said: bool = False) -> None:
        self._env, self._missing, self._next = env, said, 0.0

    def __call__(self) -> None:
        """Look again, if the last look is a second ago."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LOOK_S
        missing = not any_worker(self._env)
        if missing != self._missing:
            warn(NO_WORKER if missing else "a worker runs")
        self._missing = missing


def count_lines(source: str) -> int | None:
    """The line breaks in a file; None for standard input and for whatever can be read only once."""
    path = Path(source)
    if source == "-" or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(partial(file.read, _READ_BYTES), b""))
    except OSError:  # the command that reads the file reports the error
        return None
