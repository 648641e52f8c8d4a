"""Exports of the formats that TRL reads: written, opened with `load_dataset`, trained on, and passed by `validate`."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest

from karma.config.splits import Splits
from karma.plugins.registry import EXPORTERS
from karma.store.export_filter import ExportFilter
from karma_demo.family import checkpoint_path
from karma_gateway.exports.card import card
from karma_gateway.exports.folder import FolderExport, Layout
from karma_gateway.exports.reader import Reader
from karma_validation.validate import validate
from tests.integration.test_export_folders import LINEAGE
from tests.support.memory import Flow
from tests.support.stores import memory

pytestmark = [pytest.mark.ci, pytest.mark.filterwarnings("ignore")]

#: Format → TRL's trainer that reads it.
TRAINERS = {
    "trl-dpo": "DPO",
    "trl-dpo-implicit": "DPO",
    "ultrafeedback-binarized": "DPO",
    "openrlhf": "DPO",
    "kto": "KTO",
    "reward": "Reward",
}
STEPS = 10
CASES = [
    *TRAINERS.items(),
    ("trl-dpo", "Reward"),
    ("ultrafeedback-binarized", "Reward"),
    ("trl-dpo-implicit", "Reward"),
]


@pytest.fixture(scope="module")
def flow() -> Flow:
    made = Flow(memory())
    made.accept(*({"id": str(n), "prompt": f"Reverse the word ab{n}."} for n in range(60)))
    made.finish()
    return made


def folder_of(flow: Flow, form: str, path: Path) -> Path:
    layout = Layout(Splits.parse("train=.9,test=.1"), part_preferences=25)
    settings = {"splits": dict(layout.splits.shares), "ending": ".parquet", "filter": {}, "default": True}
    reader = Reader(flow.store, form, ExportFilter())
    FolderExport(reader, path, layout, settings, lambda whole: card(whole, LINEAGE, None)).write()
    return path


@pytest.mark.parametrize("form", EXPORTERS)
def test_a_folder_of_every_format_opens_and_passes(
    flow: Flow, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    folder = folder_of(flow, form, tmp_path / "data")
    loaded = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert sum(len(rows) for rows in loaded.values()) == (120 if form == "kto" else 60)
    report = validate(folder, form)
    assert list(report.problems) == []
    assert report.splits == {split: len(rows) for split, rows in loaded.items()}


@pytest.mark.parametrize(("form", "name"), CASES)
def test_the_trainer_takes_ten_steps_on_the_export(
    flow: Flow, form: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import trl
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    logging.getLogger("trl").setLevel(logging.ERROR)
    folder = folder_of(flow, form, tmp_path / "data")
    rows = load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    checkpoint = str(checkpoint_path("novice"))
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    if name == "Reward":
        model = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype="float32", num_labels=1)
        model.config.pad_token_id = tokenizer.pad_token_id
    else:
        model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype="float32")
    before = model.model.embed_tokens.weight.detach().clone()
    trainer = getattr(trl, f"{name}Trainer")(
        model=model,
        args=getattr(trl, f"{name}Config")(
            output_dir=str(tmp_path / "out"),
            max_steps=STEPS,
            per_device_train_batch_size=4,
            learning_rate=3e-4,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
        ),
        processing_class=tokenizer,
        train_dataset=rows,
    )
    prepared = trainer.train_dataset[0]
    _check_prompt(name, prepared, rows[0], tokenizer)
    result = trainer.train()
    assert result.global_step == STEPS
    assert 0 < result.training_loss < 5
    weight = trainer.model.model.embed_tokens.weight
    assert bool(weight.isfinite().all())
    assert not bool((weight == before).all())


def _check_prompt(name: str, prepared: dict[str, Any], row: dict[str, Any], tokenizer: Any) -> None:
    """What is trained on has the user's words once, and the answer after them."""
    side = "chosen_ids" if name != "KTO" else "completion_ids"
    ids = [*prepared.get("prompt_ids", []), *prepared[side]]
    text = tokenizer.decode(ids)
    chat = row["completion"] if name == "KTO" else row["chosen"]
    user = (row["prompt"] if "prompt" in row else row["chosen"])[0]["content"]
    assert text.count(user) == 1
    assert text.count(chat[-1]["content"]) == 1
    assert text.index(user) < text.index(chat[-1]["content"])
    if name == "Reward" and "margin" in row:
        assert math.isfinite(prepared["margin"])
