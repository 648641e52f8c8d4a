"""`karma up` and `karma down`: run the whole pipeline on this machine, and stop it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Annotated
from urllib.parse import urlsplit

import typer

from karma.config.environment import Environment
from karma.config.home import make_private
from karma.config.parts import check_parts
from karma.config.pool import Pool
from karma.errors import KarmaError
from karma_cli.commands.doctor import at_start
from karma_cli.local.pid_file import already_running, running_pid
from karma_cli.local.supervisor import UNSIGNED, Supervisor, last_log_line
from karma_cli.options import HomeOption, PoolOption, read_environment, token_command
from karma_cli.output import console, warn
from karma_monitor.page.access import is_loopback, url_path
from karma_monitor.page.tokens import Tokens, link

_POLL_S = 0.5
_DETACHED_READY_S = 100.0
_STOP_S = 60.0
_CHECK_S = 10.0  # that a detached start waits for the check of models and judges once the pipeline is up


def up(
    pool: PoolOption = None,
    home: HomeOption = None,
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background; stop with karma down.")] = False,
    redis_port: Annotated[int, typer.Option("--redis-port", help="Port of the embedded Redis; 0: any free port.")] = 0,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Serve the page.")] = True,
    check: Annotated[
        bool,
        typer.Option("--check/--no-check", help="Make one small call of each model and judge (karma doctor --quick)."),
    ] = True,
) -> None:
    """Run the whole pipeline on this machine: an embedded Redis, one process per service, and the page.

    KARMA_PAGE_HOST (127.0.0.1) and KARMA_PAGE_PORT (8080; 0: any free port) set the page's address. On a terminal it
    prints a link that opens the page; otherwise `karma token` does. If the port is taken, the page takes the next free
    one.

    A model or judge that does not work is named; the pipeline starts all the same.
    """
    env = read_environment(home, pool)
    read_pool = Pool.read(env.pool_path)
    check_parts(read_pool)
    if (pid := running_pid(env.home)) is not None:
        raise already_running(env.home, pid)
    if make_private(env.home):
        warn(f"other users of this machine could read {env.home}; now only you and its group can")
    if detach:
        _detach(env, redis_port, page)
        if check:
            with _checkup(env) as checking:
                _report_soon(checking)
    else:
        _run(env, read_pool, redis_port, page, check)


@contextmanager
def _checkup(env: Environment) -> Iterator[subprocess.Popen[str]]:
    """The quick checkup, which begins when the pipeline is up: the workers start faster without it."""
    checking = at_start.start([f"--home={env.home}", f"--pool={env.pool_path}"])
    try:
        yield checking
    finally:
        if checking.poll() is None:
            checking.kill()


def _run(env: Environment, pool: Pool, redis_port: int, page: bool, check: bool) -> None:
    """Run the pipeline until Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C
    supervisor = Supervisor(env, pool, redis_port, page)
    try:
        with ExitStack() as stack:
            line = stack.enter_context(console.status("starting"))
            stack.enter_context(supervisor.run(line.update))
            line.stop()
            checking = stack.enter_context(_checkup(env)) if check else None
            warn(f"KARMA is up: pool {env.pool_path}, home {env.home}", style="bold")
            for info in supervisor.ready_workers():
                address = f"http://127.0.0.1:{info.metrics_port}/metrics"
                warn(f"  {info.service:<11} {info.id:<22} metrics {address}")
            warn(f"logs: {supervisor.logs}")
            for problem in supervisor.problems:
                warn(problem)
            if page:
                _print_page(env)
            warn("next: karma enqueue FILE, karma watch, karma export trl-dpo OUT. Ctrl-C stops everything.")
            while True:
                with suppress(OSError):  # a full disk ends nothing: the next check retries
                    supervisor.check(_report)
                if checking is not None and checking.poll() is not None:
                    at_start.report(checking, _report)
                    checking = None
                time.sleep(_POLL_S)
    except KeyboardInterrupt:
        console.print("stopped")


def _report(event: str) -> None:
    with suppress(OSError):  # a closed terminal keeps no worker from being restarted
        warn(event, style="yellow")


def down(home: HomeOption = None) -> None:
    """Stop the pipeline that `karma up` started. Unfinished work resumes at the next `karma up`."""
    env = read_environment(home)
    pid = running_pid(env.home)
    if pid is None:
        warn(f"nothing is running in {env.home}")
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    while running_pid(env.home) is not None:
        if time.monotonic() > deadline:
            logs = env.home / "logs"
            raise KarmaError(f"the supervisor (pid {pid}) did not stop within {_STOP_S:.0f} s; its logs are in {logs}")
        time.sleep(0.1)
    console.print("stopped")


def _print_page(env: Environment) -> None:
    """Print the page's address; on a terminal with a new token, which must reach no log."""
    try:
        url = url_path(env.home).read_text()
    except OSError:
        return  # the page is not running; the reason has been printed
    if env.page_port not in (0, urlsplit(url).port):
        warn(f"port {env.page_port} is taken: the page is on the next free one. KARMA_PAGE_PORT chooses another")
    if console.is_terminal:
        warn(f"page: {link(url, Tokens(env.home).mint('control'))}")
    else:
        warn(f"page: {url} (a link that opens it: {token_command(env)})")
    if not is_loopback(env.page_host):
        warn(f"the page listens on {env.page_host} without TLS: its tokens can be read on the way")


def _report_soon(checking: subprocess.Popen[str]) -> None:
    """Say what does not work, unless an endpoint is slow to answer."""
    try:
        checking.wait(_CHECK_S)
    except subprocess.TimeoutExpired:
        warn("a model or judge has not answered yet; to see which: karma doctor")
    else:
        at_start.report(checking, _report)


def _detach(env: Environment, redis_port: int, page: bool) -> None:
    """Start `karma up` in the background, and wait until it is ready."""
    log_path = env.home / "logs" / "supervisor.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    targets = env.home / "run" / "targets.json"
    for stale in (targets, url_path(env.home)):
        stale.unlink(missing_ok=True)  # left by a killed supervisor
    flags = [f"--home={env.home}", f"--pool={env.pool_path}", f"--redis-port={redis_port}"]
    with log_path.open("wb") as log_file:
        process = subprocess.Popen(  # noqa: S603 - KARMA's own command
            [sys.executable, "-P", "-m", "karma_cli", "up", "--no-check", *flags, "--page" if page else "--no-page"],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            start_new_session=True,
        )
    deadline = time.monotonic() + _DETACHED_READY_S
    while time.monotonic() < deadline and process.poll() is None:
        if targets.exists():
            warn(f"KARMA is up (pid {process.pid}); logs: {log_path.parent}; stop it with `karma down`")
            if env.redis_url and not env.keyring().signs:
                warn(UNSIGNED)
            if page and not url_path(env.home).exists():
                page_log = log_path.parent / "page.log"
                warn(f"the page is not running: {last_log_line(page_log)} (log: {page_log})")
            elif page:
                _print_page(env)
            return
        time.sleep(0.1)
    raise KarmaError(f"`karma up` did not get ready: {last_log_line(log_path)} (log: {log_path})")
