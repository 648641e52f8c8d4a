"""What docker-compose.yml gives to whom: rights, networks, secrets, files, versions. No container is started here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from karma.config.environment import Environment
from karma.config.redis_address import USERS
from tests.support.instant import POOL

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

WORKERS = {"gateway", "scoring", "matching", "generation", "generation-local", "judging", "judging-local"}
OWN = {*WORKERS, "page", "cli", "check", "setup"}
RECORDING = {"gateway", "scoring", "matching"}
LOCAL = {"generation-local", "judging-local"}


def variables(service: str) -> dict[str, str]:
    return {name: str(value) for name, value in SERVICES[service].get("environment", {}).items()}


def networks(service: str) -> set[str]:
    return set(SERVICES[service].get("networks", ()))


def holders(secret: str) -> set[str]:
    """The services whose environment takes a value from a variable of `.env`."""
    return {name for name in SERVICES if any(f"${{{secret}:" in value for value in variables(name).values())}


def sources(service: str) -> dict[str, dict[str, Any]]:
    """The folders and files of this machine that a service sees, by their places there."""
    mounts = SERVICES[service].get("volumes", ())
    return {mount["target"]: mount for mount in mounts if isinstance(mount, dict)}


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_writes_only_to_volumes_and_memory_and_has_no_capability(service: str) -> None:
    found = SERVICES[service]
    assert (found["read_only"], found["cap_drop"]) == (True, ["ALL"])
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in found and "cap_add" not in found and "devices" not in found


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_is_named_by_its_exact_version(service: str) -> None:
    name, _, tag = SERVICES[service]["image"].partition(":")
    exact = r"\d+\.\d+" if name == "postgres" else r"v?\d+\.\d+\.\d+"  # PostgreSQL's versions have two numbers
    assert re.fullmatch(f"{exact}(-alpine)?", tag)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert service not in OWN or tag == version


def test_the_base_image_is_named_by_its_exact_version_and_does_not_run_as_root() -> None:
    lines = (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if re.fullmatch(r"FROM python:3\.11\.\d+-slim-\w+", line)]
    assert "USER 10001" in lines
    assert {service: SERVICES[service]["user"] for service in ("redis", "postgres")} == {
        "redis": "valkey",
        "postgres": "postgres",
    }


def test_every_image_is_built_of_an_extra_that_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    built = {service: SERVICES[service]["build"]["args"]["SERVICE"] for service in OWN}
    assert set(built.values()) <= extras.keys()
    assert {built["generation-local"], built["judging-local"]} == LOCAL
    assert all("local" in extras[extra][0] for extra in LOCAL)


def test_what_shows_metrics_reaches_no_data() -> None:
    for watching in ("prometheus", "grafana"):
        for data in ("redis", "postgres", "page", "cli"):
            assert not networks(watching) & networks(data), (watching, data)
    assert networks("grafana") & networks("prometheus")
    for worker in WORKERS:
        assert networks("prometheus") & networks(worker), worker


def test_only_who_needs_the_database_or_redis_shares_a_network_with_it() -> None:
    assert {name for name in SERVICES if "store" in networks(name)} == {"postgres", *RECORDING, "page", "cli"}
    assert {name for name in SERVICES if "queue" in networks(name)} == {"redis", *WORKERS, "page", "cli"}
    assert SERVICES["setup"]["network_mode"] == "none"


def test_only_who_calls_endpoints_has_a_way_out() -> None:
    internal = {name for name, network in COMPOSE["networks"].items() if (network or {}).get("internal")}
    assert internal == {"queue", "store", "monitoring"}
    for name in ("page", "dashboards"):
        assert COMPOSE["networks"][name]["driver_opts"]["com.docker.network.bridge.enable_ip_masquerade"] == "false"
    assert {name for name in SERVICES if "outside" in networks(name)} == {"generation", "judging", "check"}
    assert all(networks(name) or name == "setup" for name in SERVICES), "without networks it is on the default one"


def test_ports_are_published_on_this_machine_only() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"page", "prometheus", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_the_keys_of_endpoints_come_from_one_file_as_they_are_and_go_where_endpoints_are_called() -> None:
    given = {name: service["env_file"] for name, service in SERVICES.items() if service.get("env_file")}
    assert given.keys() == {"generation", "judging", "check"}
    assert all(files == [{"path": "karma.env", "required": True, "format": "raw"}] for files in given.values())
    assert not any("API_KEY" in name for service in SERVICES for name in variables(service))
    for line in (ROOT / "deploy" / "karma.env.example").read_text().splitlines():
        assert line.startswith("#")


def test_each_secret_goes_to_those_alone_that_use_it() -> None:
    assert holders("POSTGRES_PASSWORD") == {"postgres"}
    assert holders("KARMA_DATABASE_PASSWORD") == {"postgres", *RECORDING, "page", "cli"}
    assert holders("KARMA_SIGNING_KEY") == {"setup", *RECORDING}
    for user in USERS:
        services = {name for name in SERVICES if variables(name).get("KARMA_REDIS_USER") == user}
        assert services == ({user, f"{user}-local"} if user in ("generation", "judging") else {user})
        assert holders(f"KARMA_REDIS_PASSWORD_{user.upper()}") == {"setup", *services}
    assert holders("KARMA_REDIS_PASSWORD_ADMIN") == {"setup"}


def test_a_worker_without_the_ledger_gets_the_signing_keys_of_its_stage() -> None:
    for service in ("generation", "judging", *LOCAL):
        stage = service.removesuffix("-local")
        assert variables(service)["KARMA_SIGNING_KEYS_FILE"] == f"/run/karma/{stage}/keys"
        assert f"{stage}-keys:/run/karma/{stage}:ro" in SERVICES[service]["volumes"]


@pytest.mark.parametrize("service", sorted(OWN))
def test_karma_knows_every_variable_of_a_service_and_no_url_has_a_password(service: str) -> None:
    given = {name: value for name, value in variables(service).items() if not name.endswith("_FILE")}
    found = Environment.read({name: re.sub(r"\$\{.*\}", "p@ss#100%", value) for name, value in given.items()})
    assert "@" not in given.get("KARMA_REDIS_URL", "")
    assert (
        found.database_url.startswith("sqlite")
        or given["KARMA_DATABASE_URL"] == "postgresql://karma@postgres:5432/karma"
    )
    if "KARMA_REDIS_URL" in given:
        assert found.redis_url == f"redis://{given['KARMA_REDIS_USER']}:p%40ss%23100%25@redis:6379/0"


def test_a_missing_pool_file_or_folder_is_said_and_not_made() -> None:
    for service in OWN:
        assert sources(service)["/etc/karma/pool.toml"]["source"] == "./pool.toml"
    for service in SERVICES:
        assert all(mount["bind"] == {"create_host_path": False} for mount in sources(service).values())


def test_local_models_are_read_only_and_ask_no_hub() -> None:
    for service in LOCAL:
        assert SERVICES[service]["profiles"] == ["local"]
        assert sources(service)["/models"]["read_only"]
        assert (variables(service)["SERVES"], variables(service)["HF_HUB_OFFLINE"]) == ("@local", "1")
        assert variables(service.removesuffix("-local"))["SERVES"] == "@remote"


def test_the_command_is_a_service_that_starts_only_when_it_is_called() -> None:
    assert (SERVICES["cli"]["profiles"], SERVICES["cli"]["entrypoint"]) == (["tools"], ["karma"])
    assert "read_only" not in sources("cli")["/data"]


def test_prometheus_asks_every_worker_by_its_name() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"][0]
    assert {name for group in config["dns_sd_configs"] for name in group["names"]} == WORKERS


def test_nothing_is_copied_into_an_image_that_is_not_named() -> None:
    first, *named = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert first == "*"
    assert {line[1:] for line in named if line.startswith("!")} == {
        *("pyproject.toml", "README.md", "LICENSE", "shared", "services"),
        *("deploy/setup.sh", "deploy/requirements", "deploy/wheels"),
    }


def made_environment(folder: Path) -> dict[str, str]:
    """What `make_env.sh` writes."""
    subprocess.run(["sh", ROOT / "deploy" / "make_env.sh", folder / ".env"], check=True, capture_output=True)
    lines = [line for line in (folder / ".env").read_text().splitlines() if not line.startswith("#")]
    return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}


def test_the_script_makes_every_secret_that_is_required_and_keeps_a_file_that_exists(tmp_path: Path) -> None:
    made = made_environment(tmp_path)
    required = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()))
    assert required | {"KARMA_REDIS_PASSWORD_ADMIN"} == made.keys()
    assert len(set(made.values())) == len(made) and {len(value) for value in made.values()} == {64}
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    command = ["sh", ROOT / "deploy" / "make_env.sh", tmp_path / ".env"]
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stderr) == (1, f"make_env: {tmp_path}/.env exists and is left as it is\n")


def test_the_setup_writes_the_users_and_the_keys_and_prints_no_secret(tmp_path: Path) -> None:
    made = made_environment(tmp_path)
    (tmp_path / "pool.toml").write_text(POOL)
    for name in ("redis", "generation", "judging"):
        (tmp_path / name).mkdir()
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "KARMA_HOME": str(tmp_path),
        "KARMA_POOL": str(tmp_path / "pool.toml"),
        "KARMA_PLUGINS": "tests.support.instant",
        "PYTHONPATH": str(ROOT),
        **{name: value for name, value in made.items() if name.startswith(("KARMA_SIGNING", "KARMA_REDIS"))},
    }
    command = ["sh", ROOT / "deploy" / "setup.sh", tmp_path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    files = {path: path.stat().st_mode & 0o777 for path in tmp_path.glob("*/*")}
    assert files == {
        tmp_path / "redis" / "users.acl": 0o644,
        tmp_path / "generation" / "keys": 0o600,
        tmp_path / "judging" / "keys": 0o600,
    }
    users = (tmp_path / "redis" / "users.acl").read_text()
    assert all(f"user {user} on #" in users for user in (*USERS, "admin"))
    keys = Environment.read({"KARMA_SIGNING_KEYS_FILE": str(tmp_path / "generation" / "keys")}).keyring()
    assert set(keys.given) == {"generate/a", "score/a", "generate/b", "score/b"}
    assert not [value for value in made.values() if value in done.stdout + done.stderr + users]
    failed = subprocess.run(
        command, env={**environment, "KARMA_SIGNING_KEY": ""}, capture_output=True, check=False, text=True
    )
    assert failed.returncode != 0 and "there is no signing key" in failed.stderr
