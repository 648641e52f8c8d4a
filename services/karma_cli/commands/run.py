"""`karma up`, `karma down`, `karma worker`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from types import FrameType
from typing import Annotated

import typer

from karma.config.environment import Environment
from karma.errors import KarmaError
from karma.worker.run import run_worker
from karma_cli.local.pid_file import running_pid
from karma_cli.local.supervisor import Supervisor, last_said
from karma_cli.options import HomeOption, PoolOption, console, environment, read_pool, warn
from karma_monitor.page.access import is_loopback, token_path, url_path

_LOOK_EVERY_S = 0.5
_DETACHED_READY_S = 100.0


def up(
    pool: PoolOption = None,
    home: HomeOption = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once everything is ready; stop with `karma down`.")
    ] = False,
    redis_port: Annotated[int, typer.Option("--redis-port", help="Port of the embedded Redis; 0: any free one.")] = 0,
    page: Annotated[
        bool, typer.Option("--page/--no-page", help="Serve the page too. [env: KARMA_PAGE_HOST, KARMA_PAGE_PORT]")
    ] = True,
) -> None:
    """Run the whole pipeline on this machine: an embedded Redis, one process per service, and the page.

    The token that the page asks for before it changes anything is printed on a terminal; otherwise where it lies is.
    """
    found = environment(home, pool)
    read = read_pool(found)
    if detach:
        _detach(found, redis_port, page)
        return
    stopped = False

    def on_signal(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, on_signal)
    supervisor = Supervisor(found, read, redis_port, page)
    try:
        with console.status("starting") as line, supervisor.run(line.update):
            line.stop()
            console.print(f"[bold]KARMA is up[/bold]: pool {found.pool_path}, home {found.home}")
            for info in supervisor.alive():
                console.print(
                    f"  {info.service:<11} {info.id:<22} metrics http://127.0.0.1:{info.metrics_port}/metrics"
                )
            console.print(f"logs: {supervisor.logs}")
            for problem in supervisor.problems:
                warn(problem)
            if page:
                show_page(found, console.is_terminal)
            console.print(
                "next: karma enqueue FILE, karma watch, karma export trl-dpo out.jsonl. Ctrl-C stops everything."
            )
            while True:
                _watch(supervisor)
                time.sleep(_LOOK_EVERY_S)
    except KeyboardInterrupt:
        console.print("stopped" if not stopped else "stopped by a signal")


def _watch(supervisor: Supervisor) -> None:
    """One look at the processes. A full disk, or a terminal that is gone, ends nothing: it is looked again."""
    with suppress(OSError):
        supervisor.watch(_say)


def _say(text: str) -> None:
    with suppress(OSError):
        console.print(f"[yellow]{text}[/yellow]")


def show_page(found: Environment, with_token: bool) -> None:
    """Say where the page is. The token itself is for a terminal: it is not to end up in a log."""
    try:
        url, kept = url_path(found.home).read_text(), token_path(found.home)
        told = kept.read_text() if with_token else f"in {kept}"
    except OSError:
        return  # it does not run, and why was said
    console.print(f"page: {url} (to change anything there, the token: {told})", highlight=False, markup=False)
    if not is_loopback(found.page_host):
        warn(f"the page listens on {found.page_host}: whoever reaches it can read every prompt and response")


def _detach(found: Environment, redis_port: int, page: bool) -> None:
    log_path = found.home / "logs" / "supervisor.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    if (other := running_pid(found.home)) is not None:
        raise KarmaError(f"`karma up` runs already in {found.home} (pid {other}); stop it with `karma down`")
    targets = found.home / "run" / "targets.json"
    for left in (targets, url_path(found.home)):
        left.unlink(missing_ok=True)  # by one that was killed
    with log_path.open("wb") as log_file:
        process = subprocess.Popen(  # noqa: S603 - KARMA's own command
            [
                *(sys.executable, "-m", "karma_cli", "up", "--redis-port", str(redis_port)),
                "--page" if page else "--no-page",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            start_new_session=True,
            env={
                **os.environ,
                "KARMA_HOME": str(found.home),
                "KARMA_POOL": str(found.pool_path),
                "KARMA_DATABASE_URL": found.database_url,
            },
        )
    deadline = time.monotonic() + _DETACHED_READY_S
    while time.monotonic() < deadline and process.poll() is None:
        if targets.exists():
            console.print(f"KARMA is up (pid {process.pid}); logs: {log_path.parent}; stop it with `karma down`")
            if page and not url_path(found.home).exists():
                page_log = log_path.parent / "page.log"
                warn(f"the page is not: {last_said(page_log)} (log: {page_log})")
            elif page:
                show_page(found, with_token=console.is_terminal)
            return
        time.sleep(0.1)
    raise KarmaError(f"it did not come up: {last_said(log_path)} (log: {log_path})")


def down(home: HomeOption = None) -> None:
    """Stop what `karma up` started here; what is open goes on at the next `karma up`."""
    found = environment(home)
    pid = running_pid(found.home)
    if pid is None:
        console.print(f"nothing runs in {found.home}")
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if running_pid(found.home) is None:
            console.print("stopped")
            return
        time.sleep(0.1)
    raise KarmaError(f"the supervisor (pid {pid}) did not stop within 60 s; its logs are in {found.home / 'logs'}")


def worker(
    service: Annotated[str, typer.Argument(help="gateway, generation, scoring, matching or judging.")],
    models: Annotated[
        str, typer.Option("--models", help="For generation: the models to serve, separated by commas.")
    ] = "",
    judges: Annotated[str, typer.Option("--judges", help="For judging: the judges to be, separated by commas.")] = "",
    pool: PoolOption = None,
    home: HomeOption = None,
) -> None:
    """Run one worker here, given the broker's URL (KARMA_REDIS_URL). Start more of them to scale a service."""
    names = [name.strip() for name in f"{models},{judges}".split(",") if name.strip()]
    run_worker(service, names, environment(home, pool))
