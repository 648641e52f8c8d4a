"""`karma worker`, `karma page`: one process, in the foreground. `karma keys`, `acl`, `token`: secrets and rights."""

from __future__ import annotations

import os
import secrets
from typing import Annotated

import typer

from karma.config.home import make_private
from karma.config.pool import Pool
from karma.config.redis_address import ADMIN, USERS, password_variable
from karma.errors import SettingsError
from karma.messages.signing import channels_of
from karma.queue.acl import acl_lines
from karma.worker.run import run_worker
from karma_cli.options import HomeOption, PoolOption, open_store, read_environment, token_command
from karma_cli.output import Output, warn, with_format_flags
from karma_monitor.page.access import url_path
from karma_monitor.page.tokens import Tokens, link


def worker(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="gateway, generation, scoring, matching, judging.")],
    models: Annotated[str, typer.Option("--models", help="For generation: models to serve, comma-separated.")] = "",
    judges: Annotated[str, typer.Option("--judges", help="For judging: judges to serve, comma-separated.")] = "",
    pool: PoolOption = None,
    home: HomeOption = None,
) -> None:
    """Run one worker. Start more workers to scale a service.

    The worker needs the URL of Redis (KARMA_REDIS_URL), or a `karma up` with the same home. Among models and judges,
    @remote stands for all that call an endpoint, and @local for all that load a checkpoint.
    """
    names = [name.strip() for name in f"{models},{judges}".split(",") if name.strip()]
    run_worker(service, names, read_environment(home, pool))


def page(pool: PoolOption = None, home: HomeOption = None) -> None:
    """Serve the page alone. `karma up` already serves it.

    KARMA_PAGE_HOST (127.0.0.1) and KARMA_PAGE_PORT (8080; 0: any free port) set its address.
    """
    env = read_environment(home, pool)
    open_store(env).close()  # the page itself never migrates a store
    warn(f"a link that opens the page, from another terminal: {token_command(env)}. Ctrl-C stops the page.")
    run_worker("page", [], env)


@with_format_flags
def token(
    output: Output,
    read: Annotated[bool, typer.Option("--read", help="It may read and change nothing.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="End all tokens instead.")] = False,
    home: HomeOption = None,
) -> None:
    """Print a link that opens the page, with a new token. It is valid for 30 days.

    The token is in the link; with curl: -H "Authorization: Bearer TOKEN". Of a token only a hash is kept.
    """
    env = read_environment(home)
    make_private(env.home)
    tokens = Tokens(env.home)
    if read and revoke:
        raise SettingsError("--revoke ends all tokens, also those that may change things; leave out --read")
    if revoke:
        ended = tokens.revoke()
        output.result({"revoked": ended}, f"{ended} tokens ended", [ended])
        return
    made = tokens.mint("read" if read else "control")
    try:
        shown = url = link(url_path(env.home).read_text(), made)
    except OSError:
        output.note(f"no page runs in {env.home}. Start one (karma up, or karma page), and append this to its address:")
        shown, url = link("", made), None
    output.result({"token": made, "scope": "read" if read else "control", "url": url}, shown, [made])


def keys(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="generation or judging.")],
    names: Annotated[str, typer.Argument(metavar="NAMES", help="Models or judges, comma-separated; empty: all.")] = "",
    pool: PoolOption = None,
    home: HomeOption = None,
) -> None:
    """Print the signing keys of one worker, for a machine that is trusted less.

    The line goes into the worker's environment. With it the worker can read what these models or judges are asked, and
    answer it; nothing else. The other services read and write the ledger and need KARMA_SIGNING_KEY itself.
    """
    env = read_environment(home, pool)
    keyring, read = env.keyring(), Pool.read(env.pool_path)
    if keyring.secret is None:
        raise SettingsError(
            f"there is no signing key: KARMA_SIGNING_KEY is not set, and {env.home} has none. "
            "Make one: openssl rand -hex 32"
        )
    known = read.judges if service == "judging" else read.models
    chosen = [name.strip() for name in names.split(",") if name.strip()] or list(known)
    for name in chosen:
        if name not in known:
            raise SettingsError(f"{read.path}: there is no {name!r}; known are: {', '.join(known)}")
    line = keyring.export(channels_of(service, chosen))
    warn("this is a secret: whoever has it can answer in the name of " + ", ".join(chosen))
    print(f"KARMA_SIGNING_KEYS={line}")


def acl(
    generate: Annotated[
        bool, typer.Option("--generate", help="Make the passwords that are missing, and print them to standard error.")
    ] = False,
) -> None:
    """Print the users of Redis: one per service, with its own commands and keys only.

    The lines are an ACL file of Redis 7.2 or newer, or of Valkey; they hold hashes of the passwords. Each password is
    taken from KARMA_REDIS_PASSWORD_GATEWAY, …_GENERATION, …_SCORING, …_MATCHING, …_JUDGING, …_PAGE and …_CLI. A process
    gets its own as KARMA_REDIS_PASSWORD, and its user as KARMA_REDIS_USER. With KARMA_REDIS_PASSWORD_ADMIN there is an
    administrator too. The user `health` needs no password and may do nothing but PING.
    """
    read_environment()  # refuses an unknown variable
    given = {user: os.environ.get(password_variable(user), "") for user in (*USERS, ADMIN)}
    passwords = {user: password for user, password in given.items() if password}
    missing = [user for user in USERS if user not in passwords]
    if missing and not generate:
        names = ", ".join(map(password_variable, missing))
        raise SettingsError(f"environment: there is no {names}; set them, or make new passwords with --generate")
    if missing:
        warn("new passwords, which are shown only here:")
    for user in missing:
        passwords[user] = secrets.token_urlsafe(32)
        warn(f"{password_variable(user)}={passwords[user]}")
    print("\n".join(acl_lines(passwords)))
