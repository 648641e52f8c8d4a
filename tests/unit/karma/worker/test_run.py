"""Which models and judges a worker serves, by its arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from karma.config.environment import Environment
from karma.errors import SettingsError
from karma.worker.run import _served

REMOTE = '[models.far]\nbackend = "openai"\nmodel = "far"\nbase_url = "http://127.0.0.1:1/v1"\n'
LOCAL = '[models.near]\nbackend = "transformers"\nmodel = "{folder}"\n[judges.p]\nkind = "prior"\n'


def served(folder: Path, pool: str, service: str, *names: str) -> list[str]:
    (folder / "pool.toml").write_text(pool.replace("{folder}", str(folder)))
    found = _served(service, list(names), Environment.read({"KARMA_POOL": str(folder / "pool.toml")}))
    return list(found.specs)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ["far", "near"]), (["near"], ["near"]), (["@remote"], ["far"]), (["@local"], ["near"]),
        (["@local", "far"], ["near", "far"]), (["near", "@local"], ["near"]),
    ],
)  # fmt: skip
def test_groups_stand_for_all_remote_or_local_models(tmp_path: Path, names: list[str], expected: list[str]) -> None:
    assert served(tmp_path, REMOTE + LOCAL, "generation", *names) == expected


def test_a_judge_without_a_model_is_remote_as_it_loads_no_checkpoint(tmp_path: Path) -> None:
    assert served(tmp_path, REMOTE + LOCAL, "judging", "@remote") == ["p"]
    with pytest.raises(SettingsError, match="no such judges, so this worker has nothing to serve"):
        served(tmp_path, REMOTE + LOCAL, "judging", "@local")


def test_an_unknown_group_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="models has no '@gpu'; known are: far, near"):
        served(tmp_path, REMOTE + LOCAL, "generation", "@gpu")
