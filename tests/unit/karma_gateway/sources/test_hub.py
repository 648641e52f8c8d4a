"""Datasets by folder, laid out as on the hub or as `save_to_disk` writes them. There is no hub here."""

from __future__ import annotations

from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet as parquet
import pytest

from karma.errors import SettingsError
from karma_gateway.sources.hub import hub_chunks
from karma_gateway.sources.items import Row


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def rows(name: Path, config: str | None = None, split: str | None = None) -> list[object]:
    found = [item for chunk in hub_chunks(str(name), config, split) for item in chunk]
    return [item.fields["prompt"] if isinstance(item, Row) else item for item in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As on the hub: shards of splits in `data`, and the card."""
    path = tmp_path / "set"
    (path / "data").mkdir(parents=True)
    shards = {"train-00000-of-00002": ["a"], "train-00001-of-00002": ["b"], "test-00000-of-00001": ["c"]}
    for name, prompts in shards.items():
        parquet.write_table(pyarrow.table({"prompt": prompts}), path / "data" / f"{name}.parquet")
    (path / "README.md").write_text("# A set\n")
    return path


def test_the_split_train_is_read_unless_another_is_named(folder: Path) -> None:
    assert rows(folder) == ["a", "b"]
    assert rows(folder, split="test") == ["c"]
    with pytest.raises(SettingsError, match="has no split 'dev'; it has train, test"):
        rows(folder, split="dev")


def test_several_splits_without_train_must_be_named(folder: Path) -> None:
    for path in (folder / "data").glob("train-*"):
        path.rename(path.with_name(path.name.replace("train", "validation")))
    with pytest.raises(SettingsError, match="has several splits: validation, test; name one: --split NAME"):
        rows(folder)


def test_a_configuration_of_the_card_is_read(folder: Path) -> None:
    (folder / "more").mkdir()
    parquet.write_table(pyarrow.table({"prompt": ["d"]}), folder / "more" / "x.parquet")
    paths = {"one": "data/train-*", "two": "more/*"}
    configs = "".join(f"- config_name: {name}\n  data_files: {path}\n" for name, path in paths.items())
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    assert rows(folder, "two") == ["d"]
    with pytest.raises(SettingsError, match="cannot be opened: Config name is missing"):
        rows(folder)


def test_a_saved_dataset_is_read(tmp_path: Path) -> None:
    saved = datasets.Dataset.from_list([{"prompt": "x"}, {"prompt": "y"}])
    saved.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=saved).save_to_disk(tmp_path / "dict")
    assert rows(tmp_path / "one") == rows(tmp_path / "dict") == ["x", "y"]
    with pytest.raises(SettingsError, match="has no splits; leave out --split train"):
        rows(tmp_path / "one", split="train")


def test_a_name_without_a_dataset_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^hf:.*none: cannot be opened: "):
        rows(tmp_path / "none")


def test_a_damaged_file_is_a_fault_and_takes_no_other_with_it(folder: Path) -> None:
    shard = folder / "data" / "train-00000-of-00002.parquet"
    good = folder / "data" / "train-00001-of-00002.parquet"
    shard.write_bytes(shard.read_bytes()[:-8] + b"\x00" * 8)
    shard.rename(folder / "data" / "train-00002-of-00002.parquet")  # the types are those of the first file
    assert good.exists()
    first, fault = rows(folder)
    assert first == "b"
    assert "what is left of its file 2 cannot be read" in str(fault)
