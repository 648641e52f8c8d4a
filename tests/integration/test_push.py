"""`karma export … --push`, against a stub of the hub's endpoints. The real hub is not called."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from karma.errors import KarmaError
from karma.store import Store
from karma_cli.commands.export.push import push
from tests.support.hub import Hub, stub_hub
from tests.support.memory import Flow, make_pool


@pytest.fixture
def hub() -> Iterator[Hub]:
    with stub_hub() as made:
        yield made


@pytest.fixture
def export(tmp_path: Path, hub: Hub) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`karma export` in a process of its own, as the hub's package reads the environment when it is imported."""
    store = Store(f"sqlite:///{tmp_path / 'karma.db'}")
    store.create()
    flow = Flow(store, make_pool("ab"))
    flow.accept(*({"prompt": f"Say {n}"} for n in range(9)))
    flow.finish()
    store.close()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "KARMA_"))},
        **{
            "KARMA_HOME": str(tmp_path),
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": "hf_secret",
            "HF_HOME": str(tmp_path / "hf"),
        },
        "HF_HUB_DISABLE_XET": "1",
    }
    return lambda *arguments: subprocess.run(
        [sys.executable, "-m", "karma_cli", "export", *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_folder_is_uploaded_without_what_it_lacks_or_hides(
    export: Callable[..., subprocess.CompletedProcess[str]], hub: Hub, tmp_path: Path
) -> None:
    hub.files |= {"trl-dpo/train-00007.parquet": b"of an earlier export", "notes.md": b"mine"}
    done = export("trl-dpo", "data", "--part-preferences", "5", "--push", "me/data")
    assert done.returncode == 0, done.stderr
    assert "pushed to" in done.stderr
    assert hub.files.keys() == {
        *("README.md", "notes.md"),
        *("trl-dpo/train-00000.parquet", "trl-dpo/train-00001.parquet"),
    }
    for name in ("README.md", "trl-dpo/train-00000.parquet"):
        assert hub.files[name] == (tmp_path / "data" / name).read_bytes()
    (made,) = hub.made
    assert (made["type"], made["visibility"]) == ("dataset", "private")
    assert hub.tokens == {"Bearer hf_secret"}
    assert "hf_secret" not in done.stdout + done.stderr


def test_a_hub_that_refuses_is_said_and_the_folder_is_there(
    export: Callable[..., subprocess.CompletedProcess[str]], hub: Hub, tmp_path: Path
) -> None:
    hub.refuses = True
    done = export("trl-dpo", "data", "--push", "me/data")
    assert done.returncode == 1
    assert "data is written, but was not pushed to me/data: " in done.stderr
    assert "403" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "data" / "README.md").exists()


def test_a_hub_that_cannot_be_reached_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(KarmaError, match="is written, but was not pushed to me/data: .*the same command goes on"):
        push(tmp_path, "me/data", public=False)


def test_a_file_is_not_pushed(export: Callable[..., subprocess.CompletedProcess[str]], hub: Hub) -> None:
    done = export("trl-dpo", "data.jsonl", "--push", "me/data")
    assert (done.returncode, hub.called) == (2, [])
    assert "--push: data.jsonl is no folder. Name a folder, for example data" in done.stderr
