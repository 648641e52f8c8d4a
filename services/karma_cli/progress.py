"""What a command shows while it works: on standard error, on a terminal only, and unless it is to be quiet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import Progress
from rich.text import Text

from karma.errors import StoreOutageError
from karma.telemetry.progress_bars import bars
from karma_cli.options import Output, console
from karma_gateway.exports import ROWS_AT_ONCE, Row
from karma_gateway.ingest import Line
from karma_monitor.escaping import escape_control

_LOOK_EVERY_S = 0.2
_READ_BYTES = 1 << 20


def progress(output: Output, hidden: bool = False) -> Progress:
    """Progress bars for one command; without a terminal, or `hidden`, they do nothing."""
    return bars(console, hidden or not output.shows_progress)


@contextmanager
def working(output: Output, text: str) -> Iterator[Callable[[str], None]]:
    """A line that says what is being done while it is; yields what changes it."""
    if not output.shows_progress:
        yield lambda _text: None
        return
    with console.status(Text(escape_control(text))) as status:
        yield lambda changed: status.update(Text(escape_control(changed)))


def wait_for_end(bar: Progress, ended: Callable[[], tuple[int, int]]) -> None:
    """Wait until all prompts have ended; `ended` says how many have, and of how many."""
    task = bar.add_task("prompts ended", total=None)
    while True:
        try:
            done, total = ended()
        except StoreOutageError:
            time.sleep(_LOOK_EVERY_S)  # what waits for an end can wait for the store
            continue
        bar.update(task, completed=done, total=total)
        if done == total:
            return
        time.sleep(_LOOK_EVERY_S)


def follow_lines(chunks: Iterable[list[Line]], source: str, bar: Progress) -> Iterator[list[Line]]:
    """Chunks of a source's lines; the bar follows."""
    task = bar.add_task("lines read", total=None if bar.disable else _count_lines(source))
    for lines in chunks:
        yield lines
        bar.update(task, completed=lines[-1].number)
    bar.update(task, total=bar.tasks[task].completed)


def follow_rows(rows: Iterable[Row], bar: Progress, total: int | None) -> Iterator[Row]:
    """Rows of an export; the bar follows, piece by piece."""
    task = bar.add_task("preferences written", total=total)
    count = 0
    for row in rows:
        yield row
        count += 1
        if count % ROWS_AT_ONCE == 0:
            bar.update(task, completed=count)
    bar.update(task, completed=count, total=count)


def _count_lines(source: str) -> int | None:
    """The lines of a file; None of what can be read only once."""
    path = Path(source)
    if source == "-" or not path.is_file():
        return None
    lines, last = 0, b"\n"
    try:
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                lines, last = lines + block.count(b"\n"), block[-1:]
    except OSError:  # whoever reads the file in earnest says it better
        return None
    return lines + (last != b"\n")
