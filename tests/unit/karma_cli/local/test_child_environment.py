"""A process gets the variables that it needs, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from karma.config.environment import Environment
from karma.config.pool import Pool
from karma.messages.signing import Keyring
from karma_cli.local.child_environment import child_environment, open_environment

SECRET = "a secret of thirty-two characters"
POOL = """
[models.red]
backend = "openai"
model = "red"
base_url = "http://127.0.0.1:1/v1"
api_key_env = "RED_KEY"
[models.blue]
backend = "openai"
model = "blue"
base_url = "http://127.0.0.1:1/v1"
api_key_env = "BLUE_KEY"
[judges.fair]
kind = "openai"
model = { backend = "openai", model = "fair", base_url = "http://127.0.0.1:1/v1", api_key_env = "FAIR_KEY" }
[pipeline]
pass_environment = ["PLUGIN_OPTION"]
"""
VARIABLES = {
    "PATH": "/bin", "LC_ALL": "C", "https_proxy": "http://proxy:1", "HF_TOKEN": "hub",
    "RED_KEY": "r", "BLUE_KEY": "b", "FAIR_KEY": "f", "AWS_SECRET_ACCESS_KEY": "a", "PLUGIN_OPTION": "p",
    "KARMA_PLUGINS": "mine", "KARMA_SIGNING_KEY": SECRET, "KARMA_DATABASE_URL": "postgresql://u@h/d",
    "KARMA_DATABASE_PASSWORD": "p", "KARMA_REDIS_URL": "redis://h", "KARMA_REDIS_USER": "u",
    "KARMA_REDIS_PASSWORD": "p", "KARMA_REDIS_PASSWORD_GATEWAY": "p", "KARMA_REDIS_PASSWORD_ADMIN": "p",
}  # fmt: skip
DATABASE = {"KARMA_DATABASE_URL", "KARMA_DATABASE_PASSWORD"}
PLAIN = {"PATH", "LC_ALL", "https_proxy", "PLUGIN_OPTION", "KARMA_PLUGINS"}


def given(tmp_path: Path, *arguments: str) -> dict[str, str]:
    path = tmp_path / "pool.toml"
    path.write_text(POOL)
    environment = Environment.read({**VARIABLES, "KARMA_HOME": str(tmp_path), "KARMA_POOL": str(path)})
    return child_environment(VARIABLES, environment, Pool.read(path), arguments)


@pytest.mark.parametrize(
    ("arguments", "secrets"),
    [
        (("generation", "red"), {"RED_KEY", "HF_TOKEN", "KARMA_SIGNING_KEYS"}),
        (("generation", "red,blue"), {"RED_KEY", "BLUE_KEY", "HF_TOKEN", "KARMA_SIGNING_KEYS"}),
        (("judging", "fair"), {"FAIR_KEY", "HF_TOKEN", "KARMA_SIGNING_KEYS"}),
        (("scoring",), {"HF_TOKEN", "KARMA_SIGNING_KEY", *DATABASE}),
        (("gateway",), {"KARMA_SIGNING_KEY", *DATABASE}),
        (("page",), DATABASE),
        (("migration",), DATABASE),
    ],
)
def test_a_process_gets_the_secrets_that_it_uses(tmp_path: Path, arguments: tuple[str, ...], secrets: set[str]) -> None:
    assert set(given(tmp_path, *arguments)) == PLAIN | secrets


def test_a_worker_gets_the_signing_keys_of_its_models_alone(tmp_path: Path) -> None:
    keys = Keyring.read(None, given(tmp_path, "generation", "red")["KARMA_SIGNING_KEYS"])
    assert set(keys.given) == {"generate/red", "score/red"}


def test_a_secret_from_a_file_is_given_as_itself_to_those_alone_that_use_it(tmp_path: Path) -> None:
    path = tmp_path / "pool.toml"
    path.write_text(POOL)
    for name in ("signing", "database", "redis"):
        (tmp_path / name).write_text(SECRET)
    variables = {
        "KARMA_HOME": str(tmp_path),
        "KARMA_DATABASE_URL": "postgresql://u@h/d",
        "KARMA_REDIS_URL": "redis://h",
        "KARMA_SIGNING_KEY_FILE": str(tmp_path / "signing"),
        "KARMA_DATABASE_PASSWORD_FILE": str(tmp_path / "database"),
        "KARMA_REDIS_PASSWORD_FILE": str(tmp_path / "redis"),
    }
    environment, pool = Environment.read(variables), Pool.read(path)
    scoring = child_environment(variables, environment, pool, ("scoring",))
    assert set(scoring) == {"KARMA_HOME", "KARMA_SIGNING_KEY", *DATABASE}
    assert {scoring["KARMA_SIGNING_KEY"], scoring["KARMA_DATABASE_PASSWORD"]} == {SECRET}
    assert set(child_environment(variables, environment, pool, ("generation", "red"))) == {
        "KARMA_HOME",
        "KARMA_SIGNING_KEYS",
    }
    assert environment.broker_url() == "redis://:a%20secret%20of%20thirty-two%20characters@h"


def test_the_process_that_workers_are_forked_from_gets_no_secret() -> None:
    assert set(open_environment(VARIABLES)) == {"PATH", "LC_ALL", "KARMA_PLUGINS"}
