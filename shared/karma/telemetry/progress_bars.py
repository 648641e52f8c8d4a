"""Progress bars on a terminal, with count, rate and time left."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class CountColumn(ProgressColumn):
    """`1,200/2,400 31/s`; without an unknown total or rate."""

    def render(self, task: Task) -> Text:
        """The column of one task."""
        total = "" if task.total is None else f"/{task.total:,.0f}"
        speed = task.finished_speed or task.speed
        if speed is None and task.finished_time:  # it was completed in one step
            speed = task.completed / task.finished_time
        rate = "" if speed is None else f" {speed:,.0f}/s" if speed >= 10 else f" {speed:.1f}/s"
        return Text(f"{task.completed:,.0f}{total}{rate}")


def progress_bars(console: Console, hidden: bool = False) -> Progress:
    """Progress bars, as a context manager; hidden bars draw nothing. Standard output is not redirected: it is data."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        CountColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=console,
        redirect_stdout=False,
        disable=hidden,
    )
