"""Direct preference optimisation of a member of the tiny family with TRL, and its accuracy before and after."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from karma.checkers.answer import answer
from karma.llm.transformers import LocalModel
from karma_demo.model_card import load
from karma_demo.tasks import Task
from karma_gateway.exporters.trl_dpo import trl_dpo
from tests.benchmarks.family_stream import spec_of, texts


@dataclass(frozen=True)
class Preference:
    """One row of training data."""

    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True)
class Recipe:
    """How DPO is done; the same for every stream."""

    learning_rate: float = 3e-4
    beta: float = 0.1
    epochs: int = 3
    batch: int = 32
    losses: tuple[str, ...] = ("sigmoid", "sft")
    weights: tuple[float, ...] = field(default=(1.0, 1.0))
    label_smoothing: float = 0.0  # of the losses `sigmoid` and `robust`: the share of wrong labels


def accuracy(tokenizer: Any, model: Any, asked: Sequence[Task]) -> float:
    """Share of right greedy answers."""
    local = LocalModel(model.eval(), tokenizer, model.device)
    made = texts(local, spec_of("policy", Path(), 0.0), asked, 0)
    right = [answer(text or "", task.reference) is True for text, task in zip(made, asked, strict=True)]
    return sum(right) / len(asked)


def aligned(checkpoint: Path, preferences: Sequence[Preference], recipe: Recipe, seed: int) -> tuple[Any, Any]:
    """The tokenizer and the model after DPO; the rows are the product's `trl-dpo` export. No rows change nothing."""
    from datasets import Dataset
    from datasets.utils.logging import disable_progress_bar
    from transformers import PrinterCallback, set_seed
    from transformers.utils import logging as transformers_logging
    from trl import DPOConfig, DPOTrainer

    disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("trl").setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    tokenizer, model = load(checkpoint)
    if not preferences:
        return tokenizer, model
    set_seed(seed % 2**32)
    rows = [_row(one) for one in preferences]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = DPOTrainer(
            model=model,
            args=DPOConfig(
                output_dir=folder,
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                learning_rate=recipe.learning_rate,
                beta=recipe.beta,
                num_train_epochs=recipe.epochs,
                per_device_train_batch_size=recipe.batch,
                loss_type=list(recipe.losses),
                loss_weights=list(recipe.weights),
                label_smoothing=recipe.label_smoothing,
                max_length=128,
                precompute_ref_log_probs=True,
                lr_scheduler_type="linear",
                warmup_steps=5,
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
                seed=seed % 2**32,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )
        trainer.remove_callback(PrinterCallback)  # standard output is for the result
        trainer.train()
    return tokenizer, trainer.model


def _row(one: Preference) -> dict[str, Any]:
    turns = json.dumps([{"role": "user", "content": one.prompt}])
    return trl_dpo(SimpleNamespace(messages=turns, chosen_text=one.chosen, rejected_text=one.rejected), True)
