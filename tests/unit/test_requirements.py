"""What the images install: every package by hash, at the tested version, and all that its extra asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("gateway", "scoring", "matching", "generation", "judging", "cli", "generation-local", "judging-local")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked(name: str) -> dict[str, tuple[str, int]]:
    """Package → version and number of hashes."""
    text = (ROOT / "deploy" / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        package, version, hashes = re.fullmatch(
            r"([a-z0-9-]+)==(\S+)((?:\s+--hash=sha256:[0-9a-f]{64})*)\s*", line
        ).groups()  # type: ignore[union-attr]
        found[package] = version, hashes.count("--hash")
    return found


def asked(extra: str) -> set[str]:
    """The packages that an extra asks for, by way of others."""
    names = set()
    for line in EXTRAS["optional-dependencies"][extra]:
        required = Requirement(line)
        if required.name == "karma":
            names |= set().union(*map(asked, required.extras))
        else:
            names.add(required.name)
    return names


@pytest.mark.parametrize("name", [*SERVICES, "build"])
def test_every_package_of_an_image_has_hashes_and_the_version_that_is_tested(name: str) -> None:
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    for package, (version, hashes) in locked(name).items():
        assert hashes > 0, package
        assert version == pinned.get(package, version), package


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_installs_all_that_its_service_asks_for_and_torch_from_a_wheel_only(service: str) -> None:
    own = {Requirement(line).name for line in EXTRAS["dependencies"]}
    if service in ("gateway", "scoring", "cli"):  # they reckon in money
        own |= asked("prices")
    assert own | asked(service) | asked("traces") <= set(locked(service)) | {"torch"}
    assert not {name for name in locked(service) if re.match("torch|nvidia|triton", name)}


def test_no_registry_is_named_in_what_the_images_install() -> None:
    for path in (ROOT / "deploy" / "requirements").glob("*.txt"):
        assert "://" not in path.read_text()
