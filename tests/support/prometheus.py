"""A real Prometheus for tests: it scrapes the target list of a `karma up` run, with the shipped rules where asked."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support import needs
from tests.support.pipeline import ROOT, wait_until
from tests.support.ports import free_port

RULES = ROOT / "deploy" / "prometheus" / "rules"


@dataclass(frozen=True)
class Sample:
    """One series of an instant query's answer."""

    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    url: str
    targets: Path

    def wait_for_scrapes(self) -> None:
        """Wait until every target of the file is scraped."""

        def all_are_up() -> bool:
            wanted = {target for group in json.loads(self.targets.read_text()) for target in group["targets"]}
            return wanted == {one.labels["instance"] for one in self.query("up == 1")}

        wait_until(all_are_up, 60, "Prometheus scrapes every target")

    def query(self, expression: str) -> list[Sample]:
        """The series of an expression now.

        Raises:
            ValueError: Prometheus refuses the expression; says why.
        """
        found = self._get(f"query?query={urllib.parse.quote(expression)}")
        if found["resultType"] == "scalar":
            return [Sample({}, float(found["result"][1]))]
        return [Sample(one["metric"], float(one["value"][1])) for one in found["result"]]

    def value(self, expression: str) -> float:
        """The sum over an expression's series; 0 where there is none."""
        return sum(one.value for one in self.query(expression))

    def alerts(self, state: str = "firing") -> list[dict[str, Any]]:
        """The alerts in a state: `labels`, `annotations`, `activeAt`."""
        return [one for one in self._get("alerts")["alerts"] if one["state"] == state]

    def _get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refused:
            raise ValueError(json.load(refused)["error"]) from None


@contextmanager
def serve(folder: Path, targets: Path, rules: Sequence[Path] = (), every_s: float = 1.0) -> Iterator[Prometheus]:
    """A Prometheus that scrapes a file of targets and evaluates files of rules.

    Args:
        folder: for its configuration, data and log.
        targets: as `karma up` writes it.
        rules: files of recording rules and alerts.
        every_s: between two scrapes, and between two evaluations.
    """
    folder.mkdir(parents=True, exist_ok=True)
    every = f"{round(every_s * 1000)}ms"
    discovery: dict[str, Any] = {"files": [str(targets)], "refresh_interval": "1s"}
    config = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [{"job_name": "karma", "file_sd_configs": [discovery]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    started = [
        needs.prometheus(),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(started, stdout=log, stderr=log, env={"PATH": os.environ["PATH"], "GOMAXPROCS": "1"})
    server = Prometheus(f"http://127.0.0.1:{port}", targets)

    def ready() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"Prometheus ended: {(folder / 'prometheus.log').read_text()}")
        try:
            return urllib.request.urlopen(f"{server.url}/-/ready", timeout=5).status == 200
        except OSError:
            return False

    try:
        wait_until(ready, 40, "Prometheus is ready")
        yield server
    finally:
        process.terminate()
        process.wait(20)
