"""Redis' users, one per service: a whole stream runs with them, and nothing else is allowed to any of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client

from karma.config.redis_address import USERS
from karma.queue.acl import GRANTS, HEALTH
from tests.support.access import GuardedPipeline, GuardedRedis
from tests.support.instant import POOL
from tests.support.pipeline import wait_until

QUEUES = ("generate.a", "generate.b", "judge.j", "score", "match", "learn")
KEYS = (
    *("epoch", "claims", "done", "kept", "fates", "refused", "workers", "wake", "full", "spent", "limit:abc"),
    *(f"{queue}{step}" for queue in QUEUES for step in ("", "\x06\x161", "\x06\x163", "\x06\x168", "\x06\x169")),
    *(f"_kombu.{table}.{queue}" for queue in QUEUES for table in ("binding", "binding_permanent")),
    *(
        "unacked",
        "celery",
        "scores",
        "karma:other",
        "generate",
        "judge",
        "match\x06\x160",
        "_kombu.binding.celery",
        "x",
    ),
)
ALL_KEYS = tuple(f"karma:{key}" if key in KEYS[:11] else key for key in KEYS)

SERVICES = {"gateway", "generation", "scoring", "matching", "judging", "page"}

#: Commands that need no rights: they say who one is, or end the connection.
UNGUARDED = {"auth", "hello", "quit", "reset"}

#: The arguments of the granted commands, after the key.
ARGUMENTS = {
    "hset": ["f", "v"], "hdel": ["f"], "hget": ["f"], "lpush": ["v"], "ltrim": ["0", "0"], "lindex": ["0"],
    "lrange": ["0", "1"], "sadd": ["m"], "zadd": ["1", "m"], "zscore": ["m"], "zrem": ["m"], "zrange": ["0", "1"],
    "zmscore": ["m"], "zremrangebyscore": ["0", "0"], "set": ["v"], "brpop": ["0.01"], "blpop": ["0.01"], "srem": ["m"],
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedRedis]:
    made = GuardedRedis(tmp_path_factory.mktemp("guarded") / "redis")
    yield made
    made.stop()


@pytest.mark.ci
def test_a_stream_runs_exact_with_a_user_per_service_also_after_kills_and_a_flush(
    tmp_path: Path, server: GuardedRedis
) -> None:
    server.admin.acl_log_reset()
    karma = GuardedPipeline(tmp_path / "home", POOL + "[pipeline]\nclaim_silence_s = 3\npublish_grace_s = 2\n", server)
    with karma.running():
        karma.enqueue([{"prompt": f"prompt {number}"} for number in range(300)])
        server.admin.lpush("match", "no message")
        karma.end("generation", "scoring", "judging", kill=True)
        karma.end("matching")
        karma.start("generation", "scoring", "matching", "judging")
        assert karma.wait_for_end(300)["prompts"]["done"] == 300
        assert refused(server) == []
        server.admin.flushall()  # a worker may ask for the incarnation id before a gateway wrote it: it tries again
        server.admin.acl_log_reset()
        karma.enqueue([{"prompt": f"prompt {number}"} for number in range(300, 400)])
        for command in (["status"], ["watch", "--once"], ["refused"], ["requeue"], ["pause"], ["resume"], ["failures"]):
            assert karma.call(*command).returncode == 0
        status = karma.wait_for_end(400)
        assert (status["prompts"]["done"], status["preferences"]["judge"]) == (400, 400)
        wait_until(lambda: {worker["service"] for worker in karma.status()["workers"]} == SERVICES, 60, "all are seen")
    assert [entry for entry in refused(server) if entry[1:] != ("toplevel", "info")] == []


def refused(server: GuardedRedis) -> list[tuple[str, str, str]]:
    """What Redis denied: user, context, and command or key."""
    return [(entry["username"], entry["context"], entry["object"]) for entry in server.admin.acl_log()]


def commands(server: GuardedRedis) -> dict[str, int]:
    """Every command and subcommand of this server with its least number of arguments."""
    found: dict[str, int] = {}
    for entry in server.admin.execute_command("COMMAND").values():
        subcommands = entry.get("subcommands") or []
        for name, arity in [(entry["name"], entry["arity"]), *((sub[0].decode(), sub[1]) for sub in subcommands)]:
            found[name.lower()] = abs(arity) - 1
    return found


def answer(client: Any, *words: object) -> str:
    """What Redis answers to a command: the error, or "done"."""
    try:
        client.execute_command(*words)
    except redis_client.RedisError as error:
        return f"{type(error).__name__}: {error}"
    return "done"


def granted(user: str, command: str, key: str | None) -> bool:
    return any(
        command in grant.commands
        and (not grant.keys if key is None else any(fnmatchcase(key, name) for name in grant.keys))
        for grant in GRANTS.get(user, ())
    )


@pytest.mark.parametrize("user", USERS)
def test_a_user_can_run_no_other_command_and_reach_no_other_key(server: GuardedRedis, user: str) -> None:
    every = commands(server)
    assert len(every) > 300
    own = {command for grant in GRANTS[user] for command in grant.commands}
    assert own <= every.keys()
    client = server.client(user)
    answers = [(words, answer(client, *words)) for words in tries(every, own, user)]
    assert len(answers) > 600
    assert [each for each in answers if not is_denied(each[1])] == []


def is_denied(said: str) -> bool:
    """Whether Redis refused it for want of rights, or refuses it to every user of this machine's network."""
    return said.startswith("NoPermissionError") or "command not allowed. If the" in said or "because of: NOPERM" in said


def tries(every: dict[str, int], own: set[str], user: str) -> Iterator[Sequence[str]]:
    """Every command that the user does not need on two keys, and those that it needs on every other key."""
    for command, least in every.items():
        name, _, sub = command.partition("|")
        if name in UNGUARDED or own == {command}:
            continue
        if command not in own:
            if not sub and any(other.startswith(f"{command}|") for other in every):
                continue  # its subcommands are tried
            for key in ("x", own_key(user)):
                words = [name, sub] if sub else [name]
                yield [*words, *([key] * (least - len(words) + 1))]
            continue
        for key in ALL_KEYS:
            if command == "evalsha":
                keys = [key] if not granted(user, command, key) else []
                yield from (["evalsha", "0" * 40, "2", "karma:claims", *keys] for _ in keys)
            elif not granted(user, command, None) and not granted(user, command, key):
                yield [name, key, *ARGUMENTS.get(command, [])]


def own_key(user: str) -> str:
    return next((name for grant in GRANTS.get(user, ()) for name in grant.keys), "x").replace("*", "a")


def test_a_script_does_no_more_than_its_user_may(server: GuardedRedis) -> None:
    script = server.admin.script_load("return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))")
    server.admin.set("karma:epoch", "word:run")
    run = server.client("generation").evalsha
    assert run(script, 1, "karma:epoch", "get") == b"word:run"
    for words in (["set", "x"], ["getdel"], ["expire", "1"]):
        with pytest.raises(redis_client.ResponseError, match="ACL failure"):
            run(script, 1, "karma:epoch", *words)
    assert server.admin.get("karma:epoch") == b"word:run"


def test_a_worker_reads_and_writes_the_queues_of_its_stage_alone(server: GuardedRedis) -> None:
    reads = {
        "generation": {"generate.a", "generate.b"},
        "judging": {"judge.j"},
        "scoring": {"score", "learn"},
        "matching": {"match"},
    }
    writes = {
        "generation": {"score"}, "judging": {"learn"}, "scoring": {"match", "judge.j"}, "matching": {"judge.j"},
        "gateway": set(QUEUES),
    }  # fmt: skip
    for user in USERS:
        client = server.client(user)
        read = {
            queue for queue in QUEUES if "NoPerm" not in answer(client, "BRPOP", queue, f"{queue}\x06\x169", "0.01")
        }
        written = {queue for queue in QUEUES if "NoPerm" not in answer(client, "LPUSH", f"{queue}\x06\x163", "x")}
        server.admin.flushall()
        assert (read, written) == (reads.get(user, set()), writes.get(user, set())), user


def test_nobody_without_a_password_does_anything_but_ask_whether_the_server_answers(server: GuardedRedis) -> None:
    nobody = redis_client.Redis(port=server.port)
    assert "Authentication" in answer(nobody, "PING")
    health = redis_client.Redis(port=server.port, username=HEALTH, password="any")
    assert health.ping()
    every = commands(server)
    answers = [(words, answer(health, *words)) for words in tries(every, {"ping"}, HEALTH)]
    assert len(answers) > 300
    assert [each for each in answers if not is_denied(each[1])] == []


def test_a_wrong_user_or_too_few_rights_are_said_in_one_sentence(tmp_path: Path, server: GuardedRedis) -> None:
    karma = GuardedPipeline(tmp_path / "home", POOL, server)
    karma.environment["KARMA_REDIS_PASSWORD"] = "hush"
    done = karma.run("worker", "generation", check=False)
    (said,) = done.stderr.splitlines()
    assert "Check KARMA_REDIS_USER and KARMA_REDIS_PASSWORD" in said and "hush" not in said
    assert "Check KARMA_REDIS_USER and KARMA_REDIS_PASSWORD" in karma.run("status").stderr
