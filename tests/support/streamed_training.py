"""`python -m tests.support.streamed_training URL FOLDER STEPS [--resume]`: trains by DPO on a store while it grows.

Writes the prompts of the rows that it reads to FOLDER/read.jsonl, one list per run, a line a row.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from karma.data import Preferences
from karma.data.checkpoints import SaveCursor, load_cursor, newest_checkpoint

SAVE_STEPS = 10
BATCH = 4


class Noted(Preferences):
    """Preferences that note what is read of them."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(url, wait=60.0, poll_s=0.2)
        self.folder = folder

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with (self.folder / f"read-{os.getpid()}.jsonl").open("w") as file:
            for row in super().__iter__():
                print(json.dumps(row["prompt"][0]["content"]), file=file, flush=True)
                yield row


def main(url: str, folder: Path, steps: int, resume: bool) -> None:
    """Train for so many steps in all."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    from karma_demo.family import checkpoint_path

    member = str(checkpoint_path("novice"))
    preferences = Noted(folder, url)
    checkpoint = newest_checkpoint(folder / "dpo") if resume else None
    if checkpoint is not None:
        load_cursor(preferences, checkpoint)
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(member, dtype="float32"),
        args=DPOConfig(
            output_dir=str(folder / "dpo"),
            max_steps=steps,
            per_device_train_batch_size=BATCH,
            learning_rate=3e-4,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            save_steps=SAVE_STEPS,
            disable_tqdm=True,
            ignore_data_skip=True,
        ),
        processing_class=AutoTokenizer.from_pretrained(member),
        train_dataset=preferences.to_datasets(),
        callbacks=[SaveCursor(preferences)],
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    print(json.dumps({"steps": trainer.state.global_step}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), "--resume" in sys.argv)
