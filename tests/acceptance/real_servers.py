"""Servers that were not written here answer and judge prompts: `transformers serve`, llama.cpp's and LiteLLM's proxy.

`python -m tests.acceptance.real_servers [NAME …] --prompts 200 --json OUT` runs those that are installed. Each has a
virtual environment of its own, whose folder a variable names; `transformers` is also taken from this one.

| name | variable | install there |
| --- | --- | --- |
| transformers | `KARMA_TEST_TRANSFORMERS_SERVE` | `transformers[serving]` |
| llama.cpp | `KARMA_TEST_LLAMA_CPP` | `llama-cpp-python[server] gguf` |
| litellm | `KARMA_TEST_LITELLM` | `litellm[proxy]` |

The first two serve checkpoints of the tiny family, which also judge, and cannot: their verdicts show that whatever such
a judge says ends as a reason. LiteLLM stands before the tests' own endpoint, which judges well.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from karma.telemetry.failure_kinds import kind_of
from karma_demo.family import JUDGE, checkpoint_path
from tests.support.endpoint import Behaviour, serve
from tests.support.pipeline import Pipeline, wait_until
from tests.support.ports import free_port
from tests.support.verifier import assert_exact

MEMBERS = ("generalist-large", "speller")
READY_S = 120.0
KEY = f"sk-{secrets.token_hex(32)}"  # LiteLLM does not start without one
Run = dict[str, Any]


def environment_of(variable: str) -> Path | None:
    """The `bin` folder of a server's virtual environment; None where the variable names none."""
    folder = os.environ.get(variable)
    return Path(folder) / "bin" if folder else None


@contextmanager
def started(command: list[str], health: str, log: Path, **environment: str) -> Iterator[None]:
    """A server process, ready within the block."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env={**os.environ, **environment}
        )

    def is_ready() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"{command[0]} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(health, timeout=2) as answer:
                return int(answer.status) == 200
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    try:
        wait_until(is_ready, READY_S, f"{command[0]} answers", every_s=0.2)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def pool(url: str, models: dict[str, str], judge: str, **options: Any) -> str:
    """A pool file with models of a server, KARMA's name → the server's, and a judge."""
    more = "".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items())
    text = '[pipeline]\nclaim_silence_s = 30\n[stream]\ngoal = "label"\njudges = ["server"]\n'
    for name, served in models.items():
        text += f'[models.{name}]\nbackend = "openai"\nmodel = {json.dumps(served)}\nbase_url = "{url}"\n{more}'
    text += (
        f'[judges.server]\nkind = "openai"\n[judges.server.model]\nbackend = "openai"\nmodel = {json.dumps(judge)}\n'
    )
    return text + f'base_url = "{url}"\n{more}'


@contextmanager
def transformers(home: Path) -> Iterator[str]:
    """`transformers serve`: models are loaded when they are first asked for, by their folder."""
    program = (environment_of("KARMA_TEST_TRANSFORMERS_SERVE") or Path(sys.executable).parent) / "transformers"
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [str(program), "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with started(command, f"{address}/health", home / "server.log", HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1"):
        models = {name: str(checkpoint_path(name)) for name in MEMBERS}
        yield pool(f"{address}/v1", models, str(checkpoint_path(JUDGE)), max_tokens=32, concurrency=2)


@contextmanager
def llama_cpp(home: Path) -> Iterator[str]:
    """llama.cpp's server with members converted to GGUF."""
    folder = environment_of("KARMA_TEST_LLAMA_CPP")
    assert folder is not None
    for name in (*MEMBERS, JUDGE):
        subprocess.run(
            [str(folder / "python"), str(Path(__file__).parent.parent / "support" / "to_gguf.py"), name, str(home)],
            check=True,
            env={**os.environ, "KARMA_TEST_CHECKPOINT": str(checkpoint_path(name))},
        )
    port = free_port()
    models = [
        {"model": str(home / f"{name}.gguf"), "model_alias": name, "n_ctx": 512, "n_threads": 1, "verbose": False}
        for name in (*MEMBERS, JUDGE)
    ]
    config = home / "server.json"
    config.write_text(json.dumps({"host": "127.0.0.1", "port": port, "models": models}))
    address = f"http://127.0.0.1:{port}/v1"
    command = [str(folder / "python"), "-m", "llama_cpp.server", "--config_file", str(config)]
    with started(command, f"{address}/models", home / "server.log"):
        yield pool(address, {name: name for name in MEMBERS}, JUDGE, max_tokens=32, concurrency=1)


@contextmanager
def litellm(home: Path) -> Iterator[str]:
    """LiteLLM's proxy before the tests' own endpoint, which refuses a tenth of the calls with 429."""
    folder = environment_of("KARMA_TEST_LITELLM")
    assert folder is not None
    with serve(Behaviour(latency_ms=20, rate_429=0.1)) as upstream:
        names = ("red", "blue", "judge-fair")
        listed = [
            {
                "model_name": name,
                "litellm_params": {"model": f"openai/{name}", "api_base": upstream.url, "api_key": "x"},
            }
            for name in names
        ]
        config = home / "proxy.yaml"
        config.write_text(json.dumps({"model_list": listed}))  # JSON is YAML
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        command = [str(folder / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        settings = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": KEY}
        with started(command, f"{address}/health/liveliness", home / "server.log", **settings):
            models = {"red": "red", "blue": "blue"}
            yield pool(f"{address}/v1", models, "judge-fair", concurrency=8, api_key_env="TEST_SERVER_KEY")


SERVERS: dict[str, Callable[[Path], Any]] = {"transformers": transformers, "llama.cpp": llama_cpp, "litellm": litellm}


INSTALL = {
    "transformers": "install it: pip install -e '.[dev]'",
    "llama.cpp": "pip install 'llama-cpp-python[server]' gguf in an environment that KARMA_TEST_LLAMA_CPP names",
    "litellm": "pip install 'litellm[proxy]' in an environment that KARMA_TEST_LITELLM names",
}


def is_installed(name: str) -> bool:
    """Whether a server can be started here."""
    if name == "transformers":
        from importlib.util import find_spec

        named = environment_of("KARMA_TEST_TRANSFORMERS_SERVE") is not None
        return named or (find_spec("openai") is not None and find_spec("uvicorn") is not None)
    return environment_of({"llama.cpp": "KARMA_TEST_LLAMA_CPP", "litellm": "KARMA_TEST_LITELLM"}[name]) is not None


def run(name: str, prompts: int, home: Path) -> Run:
    """Prompts through a server; returns what came of them. Raises AssertionError where anything is lost or doubled."""
    home.mkdir(parents=True)
    began = time.monotonic()
    with SERVERS[name](home) as pool_file:
        karma = Pipeline(home / "karma", pool_file)
        karma.environment["TEST_SERVER_KEY"] = KEY
        with karma.up():
            karma.enqueue(
                [{"id": f"p{n}", "prompt": f"Say {n}. What is {10 + n % 80} + {n % 9}?"} for n in range(prompts)]
            )
            status = karma.wait_for_end(prompts, 60 + 5 * prompts)
    url = f"sqlite:///{karma.home / 'karma.db'}"
    found = assert_exact(url, prompts)
    with sqlite3.connect(karma.home / "karma.db") as database:
        reasons = {
            table: Counter(
                kind_of(reason)
                for (reason,) in database.execute(f"SELECT failure FROM {table} WHERE failure IS NOT NULL")
            )
            for table in ("responses", "verdicts")
        }
    return {
        "server": name,
        "prompts": prompts,
        "seconds": round(time.monotonic() - began, 1),
        "dead": found["dead"],
        "responses": found["responses"],
        "failed_responses": dict(reasons["responses"]),
        "verdicts": found["verdicts"],
        "failed_verdicts": dict(reasons["verdicts"]),
        "resolutions": status["resolutions"],
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SERVERS)}; the default is all")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    runs = []
    for name in arguments.names or SERVERS:
        if not is_installed(name):
            print(f"{name}: not installed here")
            continue
        with tempfile.TemporaryDirectory() as folder:
            runs.append(run(name, arguments.prompts, Path(folder) / "home"))
        for key, value in runs[-1].items():
            print(f"{key:<18} {value}", flush=True)
        print()
    if arguments.json:
        arguments.json.write_text(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
