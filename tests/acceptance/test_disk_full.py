"""The disk is full in mid-run: the door refuses, what was accepted is kept, and all goes on once there is space."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, text

from karma.queue.heartbeats import workers
from karma.queue.redis import connect
from karma_cli.local.redis_server import RedisServer
from tests.support import needs
from tests.support.databases import migrate
from tests.support.endpoint import Behaviour, Endpoint, pool, serve
from tests.support.pipeline import Pipeline, wait_until
from tests.support.postgresql import PostgreSQL
from tests.support.verifier import assert_exact, read

FIRST, LATER = 300, 2
SILENCE_S = 3
LIMITS = f"[pipeline]\nwindow = 64\nbatch_items = 8\nclaim_silence_s = {SILENCE_S}\npublish_grace_s = 2\n"


class SmallDisk:
    """A file system of its own, and a file that takes all of its space."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave no byte."""
        with self._ballast.open("wb", buffering=0) as ballast:
            for size in (1 << 16, 1 << 12, 1):
                with suppress(OSError):
                    while ballast.write(b"\0" * size):
                        pass

    def free(self) -> None:
        """Give the space back."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[SmallDisk]:
    """A small disk at `folder`, where this process may mount one."""
    needs.root_that_mounts()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "karma", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(
            f"needs a small disk, and root may mount none here ({done.stderr.strip()}); allow the container to mount"
        )
    try:
        yield SmallDisk(folder)
    finally:
        # Lazily: whatever a test that failed left running may still hold a file there.
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """24 MB."""
    (tmp_path / "disk").mkdir()
    with mounted(tmp_path / "disk", "24m") as found:
        yield found


class Run:
    """A pipeline in mid-run, against an endpoint that counts what it is asked."""

    def __init__(self, karma: Pipeline, url: str, endpoint: Endpoint) -> None:
        self._karma, self._url, self._endpoint = karma, url, endpoint
        self._engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=NullPool)
        self._accepted = karma.enqueue([{"id": f"a{n}", "prompt": f"Say {n}."} for n in range(FIRST)])["accepted"]
        wait_until(lambda: self.ended() > FIRST / 10, 60, "the run is under way", every_s=0.2)
        redis_url = karma.environment.get("KARMA_REDIS_URL") or (karma.home / "run" / "redis.url").read_text()
        self.redis: Any = connect(redis_url)
        self._matching = [info.pid for info in workers(self.redis) if info.service == "matching"]

    def ended(self) -> int:
        """Prompts that have ended."""
        with self._engine.connect() as connection:
            found = connection.execute(text("SELECT count(*) FROM prompts WHERE state IN ('done', 'dead')"))
            return int(found.scalar_one())

    def knock(self, name: str, count: int, size: int) -> bool:
        """Ask at the door to take prompts; whether it took them. A refusal is one clear sentence, and takes none."""
        lines = "".join(json.dumps({"id": f"{name}{n}", "prompt": "." * size}) + "\n" for n in range(count))
        done = self._karma.call("enqueue", "-", "--json", text=lines, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        receipt = json.loads(done.stdout)
        if done.returncode == 0:
            assert receipt["accepted"] + receipt["present"] == count
            self._accepted += receipt["accepted"]
            return True
        assert done.returncode == 1
        assert receipt["accepted"] == receipt["present"] == 0
        said = done.stderr.splitlines()[-1]
        assert said.startswith("karma: the store ") and "enqueue the same again once it works" in said, done.stderr
        return False

    def stand(self) -> None:
        """A worker dies, and the disk stays full for longer than claims may be silent and attempts may take."""
        since = time.monotonic()  # not Redis' clock: with a full disk Redis answers nothing
        for pid in self._matching:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: time.monotonic() > since + 5 * SILENCE_S, 60, "time passes", every_s=0.5)
        assert self.ended() < FIRST, "the disk was full only after the end"

    def end(self) -> None:
        """All that was ever reported as accepted ends once and well; only calls under way may be made again."""
        assert read(self._url)["accepted"] == self._accepted
        self._karma.wait_for_end(self._accepted, 120)
        found = assert_exact(self._url, self._accepted)
        assert found["dead"] == found["no_pair"] == found["failed_responses"] == found["failed_verdicts"] == 0, found
        assert self._endpoint.calls.total() <= 4 * self._accepted + self._endpoint.most_under_way, self._endpoint.calls


@contextmanager
def running(home: Path, **options: Any) -> Iterator[Callable[[str], Run]]:
    """A pipeline that is up; what is yielded begins the run on the database of a URL."""
    with serve(Behaviour(latency_ms=50)) as endpoint:
        karma = Pipeline(home, LIMITS + pool(endpoint.url), **options)
        with karma.up():
            yield lambda url: Run(karma, url, endpoint)


@pytest.mark.ci
@pytest.mark.timeout(200)
def test_a_full_disk_under_everything_refuses_at_the_door_and_loses_nothing(disk: SmallDisk) -> None:
    """SQLite, the embedded Redis and all logs lie on it."""
    with running(disk.folder) as begin:
        run = begin(f"sqlite:///{disk.folder / 'karma.db'}")
        disk.fill()
        try:
            # More than whatever room a database keeps for itself, and then so little that it may find room.
            assert not run.knock("large", 40, 500_000)
            taken = [run.knock(f"small{n}-", 1, 20) for n in range(LATER)]
            run.stand()
        finally:
            disk.free()
        for n in range(LATER):
            assert run.knock(f"small{n}-", 1, 20), taken
        run.end()
        wait_until(lambda: run.redis.info("persistence")["aof_last_write_status"] == "ok", 10, "Redis writes its file")


@pytest.mark.ci
@pytest.mark.timeout(200)
def test_a_full_disk_under_redis_refuses_nothing_at_the_door_and_loses_nothing(tmp_path: Path, disk: SmallDisk) -> None:
    """Redis writes to a disk of its own and takes no command once it is full; the ledger goes on."""
    server = RedisServer(disk.folder)
    try:
        with running(tmp_path / "home", redis_url=server.start()) as begin:
            run = begin(f"sqlite:///{tmp_path / 'home' / 'karma.db'}")
            disk.fill()
            try:
                assert all(run.knock(f"small{n}-", 1, 20) for n in range(LATER))
                run.stand()
                assert run.redis.info("persistence")["aof_last_write_status"] == "err"
            finally:
                disk.free()
            run.end()
    finally:
        server.stop()
    failed = [
        line
        for path in (tmp_path / "home" / "logs").glob("*.log")
        for line in path.read_text(errors="replace").splitlines()
        if "failed; it will be resent" in line
    ]
    assert failed == [], "what is in hand is held while Redis refuses"


@pytest.fixture
def postgresql_on_a_disk() -> Iterator[tuple[PostgreSQL, SmallDisk]]:
    """A running PostgreSQL whose data lie on a small disk."""
    folder = Path(tempfile.mkdtemp(prefix="karma-pg-"))
    try:
        server = PostgreSQL(folder)
        data = folder / "data"
        data.rename(folder / "made")
        data.mkdir()
        with mounted(data, "128m") as disk:
            shutil.copytree(folder / "made", data, dirs_exist_ok=True, symlinks=True)
            for path in [data, *data.rglob("*")]:
                os.chown(path, (owner := (folder / "made").stat()).st_uid, owner.st_gid)
            data.chmod(0o700)
            migrate(server.start())
            yield server, disk
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.ci
@pytest.mark.timeout(200)
def test_a_full_disk_under_postgresql_refuses_at_the_door_and_loses_nothing(
    tmp_path: Path, postgresql_on_a_disk: tuple[PostgreSQL, SmallDisk]
) -> None:
    """Redis and the logs lie elsewhere."""
    server, disk = postgresql_on_a_disk
    with running(tmp_path / "home", database_url=server.url) as begin:
        run = begin(server.url)
        disk.fill()
        try:
            assert not run.knock("large", 40, 500_000)
            run.stand()
        finally:
            disk.free()
        for n in range(LATER):
            assert run.knock(f"small{n}-", 1, 20)
        run.end()
