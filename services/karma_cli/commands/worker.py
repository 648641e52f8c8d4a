"""`karma worker` and `karma page`: one process, in the foreground."""

from __future__ import annotations

from typing import Annotated

import typer

from karma.worker.run import run_worker
from karma_cli.options import HomeOption, PoolOption, open_store, read_environment
from karma_cli.output import warn
from karma_monitor.page.access import token_of, token_path


def worker(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="gateway, generation, scoring, matching, judging.")],
    models: Annotated[str, typer.Option("--models", help="For generation: models to serve, comma-separated.")] = "",
    judges: Annotated[str, typer.Option("--judges", help="For judging: judges to serve, comma-separated.")] = "",
    pool: PoolOption = None,
    home: HomeOption = None,
) -> None:
    """Run one worker. Start more workers to scale a service.

    The worker needs the URL of Redis (KARMA_REDIS_URL), or a `karma up` with the same home.
    """
    names = [name.strip() for name in f"{models},{judges}".split(",") if name.strip()]
    run_worker(service, names, read_environment(home, pool))


def page(pool: PoolOption = None, home: HomeOption = None) -> None:
    """Serve the page alone. `karma up` already serves it.

    KARMA_PAGE_HOST (127.0.0.1) and KARMA_PAGE_PORT (8080; 0: any free port) set its address.
    """
    env = read_environment(home, pool)
    open_store(env).close()  # the page itself never migrates a store
    token_of(env.home)
    warn(f"the token for changes on the page is in {token_path(env.home)}. Ctrl-C stops the page.")
    run_worker("page", [], env)
