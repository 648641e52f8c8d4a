"""The services of docker-compose.yml without containers: the same commands, variables, scripts and users."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from tests.support import needs
from tests.support.database_role import RoleServer, role_server
from tests.support.endpoint import Behaviour, serve
from tests.support.pipeline import wait_until
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
(CMD,) = re.findall(r"^CMD (\[.*\])$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)

PROMPTS = 40
POOL = """
[models.red]
backend = "openai"
model = "red"
base_url = "{url}"
api_key_env = "RED_KEY"
[models.blue]
backend = "openai"
model = "blue"
base_url = "{url}"
api_key_env = "BLUE_KEY"
[judges.fair]
kind = "openai"
[judges.fair.model]
backend = "openai"
model = "judge-fair"
base_url = "{url}"
api_key_env = "FAIR_KEY"
[stream]
goal = "label"
"""
KEYS = "RED_KEY=sk-'red' #1\nBLUE_KEY=sk-blue$PATH\nFAIR_KEY=sk-fair\n"


class Stack:
    """The services as processes on this machine; what Compose would put at a place in a container lies in `folder`."""

    def __init__(self, folder: Path, database: RoleServer) -> None:
        self.folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        subprocess.run(["sh", ROOT / "deploy" / "make_env.sh", folder / ".env"], check=True, capture_output=True)
        lines = [line for line in (folder / ".env").read_text().splitlines() if not line.startswith("#")]
        self.secrets = {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}
        self.database = database
        self.port = 0
        for name in ("redis", "generation", "judging", "data"):
            (folder / name).mkdir()

    def environment(self, service: str) -> dict[str, str]:
        """The variables of a service, with this machine's addresses and folders."""
        found = {name: self._filled(str(value)) for name, value in SERVICES[service]["environment"].items()}
        if SERVICES[service].get("env_file"):  # `format: raw`
            found |= dict(line.split("=", 1) for line in (self.folder / "karma.env").read_text().splitlines())
        places = {
            "redis:6379": f"127.0.0.1:{self.port}",
            "postgres:5432": f"127.0.0.1:{self.database.port}",
            "/run/karma": str(self.folder),
            "/etc/karma": str(self.folder),
        }
        for place, here in places.items():
            found = {name: value.replace(place, here) for name, value in found.items()}
        return {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "KARMA_HOME": str(self.folder / f"home-{service}"),
            **found,
            **dict.fromkeys(("KARMA_METRICS_PORT", "KARMA_PAGE_PORT"), "0"),
            "KARMA_METRICS_HOST": "127.0.0.1",
            "KARMA_PAGE_HOST": "127.0.0.1",
        }

    def _filled(self, text: str) -> str:
        return re.sub(r"\$\{(\w+):[?-].*?\}", lambda found: self.secrets.get(found[1], ""), text)

    def run(self, service: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What `docker compose run SERVICE ARGUMENTS` prints, in the folder of data."""
        places = {"/opt/karma": str(ROOT / "deploy"), "/data": str(self.folder / "data")}
        command = [*SERVICES[service]["entrypoint"], *(arguments or SERVICES[service]["command"])]
        for place, here in places.items():
            command = [word.replace(place, here) for word in command]
        if service == "setup":
            command.append(str(self.folder))
        environment = self.environment(service) | {"KARMA_HOME": str(self.folder / f"home-{service}")}
        done = subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr
        return done

    def start(self, service: str) -> None:
        found = SERVICES[service]
        command = found.get("command") or json.loads(CMD)
        extra = {"SERVICE": found["build"]["args"]["SERVICE"], "SERVES": ""}
        with (self.folder / f"{service}.log").open("wb") as log:
            self._processes[service] = subprocess.Popen(
                command, env=extra | self.environment(service), stdout=log, stderr=log, cwd=self.folder
            )

    def start_redis(self) -> Any:
        """Redis with the options of its service, and a client of its administrator."""
        self.port = free_port()
        options = [word.replace("/run/karma", str(self.folder)) for word in SERVICES["redis"]["command"][1:]]
        own = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder / "redis")]
        self._processes["redis"] = subprocess.Popen([needs.redis(), *options, *own], stdout=subprocess.DEVNULL)
        password = self.secrets["KARMA_REDIS_PASSWORD_ADMIN"]
        admin: Any = redis.Redis(port=self.port, username="admin", password=password)
        health = redis.Redis(port=self.port, username="health", password="any")

        def answers() -> bool:
            try:
                return bool(health.ping())
            except redis.ConnectionError:
                return False

        wait_until(answers, 30, "Redis answers its health check")
        return admin

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()}" for path in sorted(self.folder.glob("*.log")))

    def stop(self) -> None:
        for process in reversed(self._processes.values()):
            process.terminate()
        for process in self._processes.values():
            process.wait(30)


@contextmanager
def stack(folder: Path) -> Iterator[Stack]:
    with role_server("p@ss#/100%?:") as database:
        made = Stack(folder, database)
        made.secrets["KARMA_DATABASE_PASSWORD"] = "p@ss#/100%?:"
        try:
            yield made
        finally:
            made.stop()


@pytest.mark.ci
def test_prompts_go_in_and_a_dataset_comes_out_with_the_rights_that_compose_gives(tmp_path: Path) -> None:
    with serve(Behaviour(latency_ms=5, seed=3)) as endpoint, stack(tmp_path) as compose:
        (tmp_path / "pool.toml").write_text(POOL.format(url=endpoint.url))
        (tmp_path / "karma.env").write_text(KEYS)
        compose.run("setup")
        admin = compose.start_redis()
        services = ("gateway", "scoring", "matching", "generation", "judging", "page")
        for service in services:
            compose.start(service)
        prompts = "".join(json.dumps({"prompt": f"Say w{n}."}) + "\n" for n in range(PROMPTS))
        (tmp_path / "data" / "prompts.jsonl").write_text(prompts)
        assert compose.run("check").stdout.count("works") == 3
        compose.run("cli", "enqueue", "/data/prompts.jsonl")

        def done() -> bool:
            status = json.loads(compose.run("cli", "status", "--json").stdout)
            seen = {worker["service"] for worker in status["workers"]}
            return status["prompts"]["done"] == PROMPTS and seen == set(services)

        try:
            wait_until(done, 90, "all prompts are done, and every service is seen", every_s=0.5)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{compose.logs()}") from None
        exported = compose.run("cli", "export", "trl-dpo", "/data/pairs.jsonl")
        rows = (tmp_path / "data" / "pairs.jsonl").read_text().splitlines()
        denied = [(entry["username"], entry["object"]) for entry in admin.acl_log() if entry["username"] != "health"]
        keys = set(endpoint.tokens)
    assert f"{len(rows)} preferences" in exported.stderr
    assert len(rows) > PROMPTS // 2
    assert denied == []
    assert keys == {f"Bearer {line.partition('=')[2]}" for line in KEYS.splitlines()}
    assert not [name for name, secret in compose.secrets.items() if secret in compose.logs()]
