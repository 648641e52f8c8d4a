"""`karma init`: a pool file of what an endpoint lists, a template where it does not, and folders with checkpoints."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from karma.config.pool import Pool
from karma_cli.commands.init.endpoint import chat_models, largest
from karma_cli.commands.init.pool_text import unique_names
from karma_demo.family import checkpoint_path
from tests.support.pipeline import Pipeline
from tests.support.ports import free_port

NAMES = ["llama3.2:3b", "nomic-embed-text:latest", "qwen3:8b", "gemma3:27b", "mistral:7b", "odd\x1b]\ud800name"]


class _Lister(BaseHTTPRequestHandler):
    names: list[str] = NAMES
    key = ""

    def do_GET(self) -> None:
        allowed = not self.key or self.headers.get("Authorization") == f"Bearer {self.key}"
        status = 404 if self.path != "/v1/models" else 200 if allowed else 401
        data = json.dumps({"data": [{"id": name} for name in self.names]} if status == 200 else {}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: Any) -> None:
        """Nothing is logged."""


@pytest.fixture
def lister() -> Iterator[tuple[str, type[_Lister]]]:
    handler = type("_Own", (_Lister,), {})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def karma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    made = Pipeline(tmp_path / "home", "")
    made.pool_path.unlink()
    monkeypatch.chdir(tmp_path)
    return made


def test_what_an_endpoint_lists_goes_into_the_file_and_the_largest_model_judges(
    karma: Pipeline, lister: tuple[str, type[_Lister]], tmp_path: Path
) -> None:
    """Also without /v1; embedders and names that no terminal can show are left out."""
    done = karma.run("init", "ollama", "--base-url", lister[0])
    assert (done.stdout, done.stderr) == (
        "pool.toml\n",
        "3 models and the judge gemma3:27b\nnext: karma doctor, then karma up\n",
    )
    pool = Pool.read(tmp_path / "pool.toml")
    assert {name: model.model for name, model in pool.models.items()} == {
        "llama3.2-3b": "llama3.2:3b", "qwen3-8b": "qwen3:8b", "mistral-7b": "mistral:7b",
    }  # fmt: skip
    assert {model.base_url for model in pool.models.values()} == {f"{lister[0]}/v1"}
    judge = pool.judges["judge"].model
    assert judge is not None
    assert judge.model == "gemma3:27b"


def test_a_file_that_exists_is_kept_without_force(karma: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "pool.toml").write_text("mine")
    done = karma.call("init", "vllm", check=False)
    assert (done.returncode, (tmp_path / "pool.toml").read_text()) == (2, "mine")
    assert done.stderr == (
        "karma: pool.toml: exists, and is kept as it is; --force replaces it, --out names another file\n"
    )
    karma.call("init", "vllm", "--force", "--base-url", f"http://127.0.0.1:{free_port()}/v1")
    assert Pool.read(tmp_path / "pool.toml").models


@pytest.mark.parametrize("source", ["ollama", "vllm", "openai", "litellm"])
def test_a_template_of_an_endpoint_that_does_not_answer_is_valid_and_says_so(
    karma: Pipeline, tmp_path: Path, source: str
) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    done = karma.call("init", source, "--base-url", url, "--out", "other.toml")
    assert "nothing listens at 127.0.0.1" in done.stderr
    assert "no models were found, so these are examples" in done.stderr
    assert "next: karma doctor --pool other.toml, then karma up --pool other.toml" in done.stderr
    text = (tmp_path / "other.toml").read_text()
    assert "# no models were found, so these are examples: put your own in their place" in text
    pool = Pool.read(tmp_path / "other.toml")
    assert len(pool.models) == 2
    assert ("api_key_env" in text) is (source in ("openai", "litellm"))


def test_a_key_is_used_by_its_variable_and_written_nowhere(
    karma: Pipeline, lister: tuple[str, type[_Lister]], tmp_path: Path
) -> None:
    lister[1].key = "sk-secret-of-a-test"
    refused = karma.call("init", "litellm", "--base-url", f"{lister[0]}/v1")
    assert "it wants a key (401)" in refused.stderr
    karma.environment["LITELLM_API_KEY"] = lister[1].key
    done = karma.call("init", "litellm", "--base-url", f"{lister[0]}/v1", "--force")
    assert "3 models" in done.stderr
    assert "sk-secret" not in (tmp_path / "pool.toml").read_text() + done.stderr
    spec = Pool.read(tmp_path / "pool.toml").models["qwen3-8b"]
    assert spec.api_key_env == "LITELLM_API_KEY"
    wrong_key = ["--api-key-env", "sk-abcdefgh", "--base-url", f"{lister[0]}/v1", "--out", "x.toml"]
    wrong = karma.call("init", "openai", *wrong_key, check=False)
    assert (wrong.returncode, "sk-abc" in wrong.stderr, (tmp_path / "x.toml").exists()) == (2, False, False)


def test_models_and_a_judge_by_name_and_one_model_pairs_its_own_answers(
    karma: Pipeline, lister: tuple[str, type[_Lister]], tmp_path: Path
) -> None:
    url = f"{lister[0]}/v1"
    done = karma.call(
        "init", "vllm", "--base-url", url, "--model", "qwen3:8b", "--model", "mine", "--judge", "mistral:7b"
    )
    assert "no endpoint lists a model mine" in done.stderr
    pool = Pool.read(tmp_path / "pool.toml")
    assert list(pool.models) == ["qwen3-8b", "mine"]
    karma.call("init", "vllm", "--base-url", url, "--model", "qwen3:8b", "--force")
    assert tomllib.loads((tmp_path / "pool.toml").read_text())["stream"]["policy"] == "self"


def test_folders_with_checkpoints_are_found_and_named_beside_the_file(karma: Pipeline, tmp_path: Path) -> None:
    for name in ("novice", "speller", "judge"):
        shutil.copytree(checkpoint_path(name), tmp_path / "models" / name)
    (tmp_path / "models" / "notes").mkdir()
    karma.call("init", "local", "models", "--judge", "models/judge")
    pool = Pool.read(tmp_path / "pool.toml")
    assert {name: Path(model.model) for name, model in pool.models.items()} == {
        name: tmp_path / "models" / name for name in ("novice", "speller")
    }
    assert 'model = "./models/novice"' in (tmp_path / "pool.toml").read_text()
    assert pool.judges["judge"].kind == "transformers"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["local", "nowhere"], "karma: nowhere: is no folder\n"),
        (["local", "."], "no checkpoint in .: expected a folder with config.json and *.safetensors"),
        (["local", "--base-url", "http://h/v1"], "local loads folders and asks no endpoint"),
        (["ollama", "folder"], "ollama has no folders (folder); name models with --model"),
        (
            ["vllm", "--base-url", "localhost:8000"],
            "base_url is 'localhost:8000', expected one that begins with http://",
        ),
        (["vllm", "--out", "no/pool.toml"], "no/pool.toml: there is no folder no; make it first, or name another file"),
    ],
)
def test_what_cannot_be_a_pool_is_refused_in_one_sentence(
    karma: Pipeline, tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = karma.call("init", *arguments, check=False)
    assert (done.returncode, said in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    assert not (tmp_path / "pool.toml").exists()


def test_names_are_short_and_unique_and_sizes_are_read_from_names() -> None:
    assert unique_names(["Qwen/Qwen3-8B", "other/Qwen3-8B", "a:b", "日本"]) == [
        "Qwen3-8B",
        "Qwen3-8B-2",
        "a-b",
        "model",
    ]
    assert largest(["llama3.2:3b", "mixtral-8x7b", "qwen3:30b", "x"]) == "mixtral-8x7b"
    assert largest(["gpt-5-mini", "gpt-4.1"]) == "gpt-4.1"
    assert chat_models(["whisper-1", "gpt-5"]) == ["gpt-5"]
    assert chat_models(["bge-m3"]) == ["bge-m3"]
