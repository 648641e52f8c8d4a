"""A PostgreSQL server as docker-compose.yml makes it: the role of the services has a password and owns its schema."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.support import needs
from tests.support.databases import server
from tests.support.pipeline import wait_until

ROLE_SQL = Path(__file__).parents[2] / "deploy" / "postgres" / "role.sql"


class RoleServer:
    """A running server whose database `karma` was set up by `role.sql`; all but its superuser need a password."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"postgresql://karma@127.0.0.1:{port}/karma"

    def superuser(self, database: str = "karma") -> Any:
        return psycopg.connect(f"postgresql://postgres@127.0.0.1:{self.port}/{database}", autocommit=True)

    def run_role_sql(self, password: str) -> subprocess.CompletedProcess[str]:
        """Run `role.sql` as the image of PostgreSQL does."""
        psql = next(needs.postgresql().rglob("bin/psql"))
        address = ["--host", "127.0.0.1", "--port", str(self.port), "--username", "postgres", "--dbname", "karma"]
        command = [psql, "--no-psqlrc", *address, "--file", ROLE_SQL]
        environment = {**os.environ, "KARMA_DATABASE_PASSWORD": password}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def lets_in_without(self) -> bool:
        """Whether the role needs no password."""
        try:
            psycopg.connect(self.url, password="wrong").close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def role_server(password: str) -> Iterator[RoleServer]:
    """A server whose role `karma` has this password, kept for SCRAM."""
    with server() as found:
        with psycopg.connect(found.url, autocommit=True) as first:
            first.execute("CREATE ROLE postgres SUPERUSER LOGIN")
        made = RoleServer(found.port)
        with made.superuser("postgres") as owner:
            owner.execute("ALTER ROLE karma RENAME TO first")
            owner.execute("CREATE DATABASE karma")
            made.run_role_sql(password).check_returncode()
            (rules,) = owner.execute("SHOW hba_file").fetchone() or ("",)
            Path(rules).write_text("host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
            owner.execute("SELECT pg_reload_conf()")
        wait_until(lambda: not made.lets_in_without(), 20, "the server asks for a password")
        yield made
