"""The role of the services, as `deploy/postgres/role.sql` makes it: it owns its schema and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from karma.config.database_address import DatabaseAddress
from karma.store import Store
from tests.support.database_role import RoleServer, role_server

PASSWORD = "it's a \"p@ss\"#word/100%\\n:'x'?&="


@pytest.fixture(scope="module")
def server() -> Iterator[RoleServer]:
    with role_server(PASSWORD) as found:
        yield found


def test_its_password_is_kept_for_scram_and_its_schema_takes_the_tables(server: RoleServer) -> None:
    store = Store(DatabaseAddress(server.url, PASSWORD))
    store.migrate()
    with store.transaction() as transaction:
        assert transaction.ledger.count_states()["done"] == 0
    store.close()
    with server.superuser() as owner:
        (kept,) = owner.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'karma'").fetchone()
        schemas = owner.execute("SELECT DISTINCT schemaname FROM pg_tables WHERE tableowner = 'karma'").fetchall()
        owned = owner.execute(
            "SELECT nspname FROM pg_namespace WHERE nspowner = 'karma'::regrole "
            "UNION ALL SELECT datname FROM pg_database WHERE datdba = 'karma'::regrole"
        ).fetchall()
    assert kept.startswith("SCRAM-SHA-256$")
    assert (schemas, owned) == ([("karma",)], [("karma",)])


def test_a_script_that_fails_says_why_without_the_password(server: RoleServer) -> None:
    done = server.run_role_sql("hush it's")
    assert done.returncode != 0
    assert 'role "karma" already exists' in done.stderr
    assert "hush" not in done.stdout + done.stderr


def test_it_has_no_right_of_the_server(server: RoleServer) -> None:
    with server.superuser() as owner:
        rights = owner.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls FROM pg_roles "
            "WHERE rolname = 'karma'"
        ).fetchone()
        member = owner.execute("SELECT count(*) FROM pg_auth_members WHERE member = 'karma'::regrole").fetchone()
    assert rights == (False,) * 5
    assert member == (0,)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE SCHEMA other", "CREATE DATABASE other", "CREATE ROLE other", "CREATE TABLE public.t (x int)",
        "CREATE TEMPORARY TABLE t (x int)", "SELECT rolpassword FROM pg_authid", "SELECT * FROM pg_shadow",
        "COPY (SELECT 1) TO PROGRAM 'true'", "COPY (SELECT 1) TO '/tmp/karma-out'",
        "SELECT pg_read_file('/etc/passwd')", "SELECT pg_ls_dir('/')", "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres", "ALTER ROLE karma SUPERUSER", "ALTER ROLE postgres PASSWORD 'x'",
        "ALTER SYSTEM SET work_mem = '1MB'", "SET log_statement = 'none'", "SELECT pg_reload_conf()",
        "ALTER DATABASE karma OWNER TO karma", "CREATE EXTENSION file_fdw", "DROP DATABASE postgres",
        "SELECT lo_import('/etc/passwd')", "CREATE EVENT TRIGGER t ON ddl_command_start EXECUTE FUNCTION f()",
        "CREATE PUBLICATION p FOR ALL TABLES", "SELECT pg_create_physical_replication_slot('s')",
    ],
)  # fmt: skip
def test_what_is_not_its_schema_is_denied(server: RoleServer, statement: str) -> None:
    with psycopg.connect(server.url, password=PASSWORD, autocommit=True) as role:
        role.execute("CREATE OR REPLACE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.DuplicateSchema)):
            role.execute(statement)


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_it_enters_no_other_database(server: RoleServer, database: str) -> None:
    url = f"{server.url.rpartition('/')[0]}/{database}"
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(url, password=PASSWORD)


def test_another_role_sees_nothing_of_it(server: RoleServer) -> None:
    with server.superuser() as owner:
        owner.execute("CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(server.url.replace("karma@", "stranger@"), password="stranger")
        owner.execute("GRANT CONNECT ON DATABASE karma TO stranger")
    with (
        psycopg.connect(server.url.replace("karma@", "stranger@"), password="stranger") as stranger,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        stranger.execute("SELECT * FROM karma.prompts")
