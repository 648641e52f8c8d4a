"""Passwords with any characters: PostgreSQL and Redis accept them, and no part of one is ever printed."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.database_role import RoleServer, role_server
from tests.support.instant import POOL
from tests.support.pipeline import Pipeline, wait_until
from tests.support.redis_server import Redis

#: Parts that no output may repeat, between characters that mean something in a URL, in a shell or in an error.
PARTS = [f"hush{secrets.token_hex(3)}" for _ in range(5)]
ODD = "{}@{}#{}/%41?&=:;'\" \\$%{}+%s{{}}{}é".format(*PARTS)

COMMANDS = (
    ["status"], ["failures"], ["models"], ["watch", "--once"], ["doctor"], ["requeue"], ["pause"], ["resume"],
    ["enqueue", "-"], ["explain", "1"], ["export", "jsonl", "-"], ["refused"],
)  # fmt: skip


@pytest.fixture(scope="module")
def postgresql() -> Iterator[RoleServer]:
    """A server that asks for passwords by SCRAM; the services' role has an odd one."""
    with role_server(ODD) as found:
        yield found


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Redis whose user `writer` has the same odd password."""
    made = Redis(tmp_path_factory.mktemp("redis"))
    made.start()
    open_to(made)
    yield made
    made.kill()


def open_to(server: Redis) -> None:
    """Give a Redis the user `writer` with the odd password, and nobody else."""
    server.client.acl_setuser("writer", enabled=True, passwords=[f"+{ODD}"], categories=["+@all"], keys=["*"])
    server.client.acl_setuser("default", enabled=False, reset=True)


def pipeline(home: Path, postgresql: RoleServer, redis: Redis, **variables: str) -> Pipeline:
    karma = Pipeline(home, POOL, "tests.support.instant")
    karma.environment |= {
        "KARMA_DATABASE_URL": postgresql.url,
        "KARMA_REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
        "KARMA_LOG_LEVEL": "DEBUG",
        **variables,
    }
    return karma


OWN = {"KARMA_DATABASE_PASSWORD": ODD, "KARMA_REDIS_USER": "writer", "KARMA_REDIS_PASSWORD": ODD}


def repeated(text: str) -> list[str]:
    """The parts of the password in a text."""
    return [part for part in [*PARTS, *(quote(part) for part in PARTS)] if part in text]


@pytest.mark.ci
def test_a_pipeline_runs_with_odd_passwords_of_both_servers_and_prints_no_part_of_them(
    tmp_path: Path, postgresql: RoleServer, redis: Redis
) -> None:
    karma = pipeline(tmp_path, postgresql, redis, **OWN)
    with karma.up(page=True):
        karma.enqueue([{"prompt": "x"}, {"prompt": "y"}])
        assert karma.wait_for_end(2)["prompts"]["done"] == 2
        said = "".join(
            done.stdout + done.stderr for done in (karma.call(*command, text="", check=False) for command in COMMANDS)
        )
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "signing.key"]
    assert repeated(said) == []
    assert {path.name: found for path in files if (found := repeated(path.read_bytes().decode(errors="replace")))} == {}


@pytest.mark.ci
def test_servers_that_shut_a_running_pipeline_out_are_named_in_its_logs_without_the_password(tmp_path: Path) -> None:
    server = Redis(tmp_path / "redis")
    server.start()
    with role_server(ODD) as database:
        open_to(server)
        karma = pipeline(tmp_path / "home", database, server, **OWN)
        with karma.up(page=True):
            karma.enqueue([{"prompt": "x"}])
            karma.wait_for_end(1)
            with database.superuser() as owner:
                owner.execute("ALTER ROLE karma NOLOGIN")
                owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'karma'")
            server.kill(with_file=False)
            server.start()  # its users are gone with it
            wanted = ("no heartbeat could be sent", "cannot be used now")
            wait_until(lambda: all(words in logs(karma) for words in wanted), 60, "the workers say what is wrong")
            said = "".join(
                karma.call(*command, text="", check=False).stderr for command in COMMANDS if command[0] != "watch"
            )
        written = logs(karma)
    server.kill()
    assert "is not permitted to log in" in said + written
    assert repeated(said + written) == []


def logs(karma: Pipeline) -> str:
    return "".join(path.read_text(errors="replace") for path in (karma.home / "logs").glob("*.log"))


REFUSED = {
    "the password of the database": ({"KARMA_DATABASE_PASSWORD": f"{ODD}x"}, "password authentication failed"),
    "the password of Redis": ({"KARMA_REDIS_PASSWORD": f"{ODD}x"}, "Check KARMA_REDIS_USER and KARMA_REDIS_PASSWORD"),
    "it unescaped in the URL": ({"KARMA_DATABASE_URL": f"postgresql://w:{ODD}@127.0.0.1/d"}, "is no database URL"),
    "another one in the URL": (
        {"KARMA_DATABASE_URL": f"postgresql://w:{quote(ODD + 'x', safe='')}@127.0.0.1/d"},
        "another password than KARMA_DATABASE_PASSWORD",
    ),
    "it among the options": ({"KARMA_DATABASE_URL": f"postgresql://w@h/d?password={ODD}"}, "is no database URL"),
    "it unescaped in the URL of Redis": ({"KARMA_REDIS_URL": f"redis://w:{ODD}@127.0.0.1/0"}, "no address of Redis"),
    "another one in the URL of Redis": (
        {"KARMA_REDIS_URL": f"redis://writer:{quote(ODD + 'x', safe='')}@127.0.0.1/0"},
        "two different ones",
    ),
    "a port where no Redis is": ({"KARMA_REDIS_URL": "redis://127.0.0.1:1/0"}, "no Redis answers at redis://127.0.0.1:1"),
    "a port where no database is": ({"KARMA_DATABASE_URL": "postgresql://w@127.0.0.1:1/d"}, "postgresql://w:***@127.0.0.1"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_let_one_in_is_said_without_the_password(
    tmp_path: Path, postgresql: RoleServer, redis: Redis, case: str
) -> None:
    wrong, expected = REFUSED[case]
    karma = pipeline(tmp_path, postgresql, redis, **{**OWN, **wrong})
    others = [command for command in COMMANDS if command[0] != "watch"]  # it waits for the database
    answers = [karma.call(*command, text='{"prompt": "z"}\n', check=False) for command in others]
    decisive = (
        karma.call("status", check=False) if "DATABASE" in str(wrong) else karma.run("worker", "scoring", check=False)
    )
    assert decisive.returncode in (1, 2) and expected in decisive.stderr
    assert len(decisive.stderr.splitlines()) == 1
    said = "".join(done.stdout + done.stderr for done in (*answers, decisive))
    assert (repeated(said), said.count("Traceback")) == ([], 0)
