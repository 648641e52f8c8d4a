"""Keeps the cursor of streamed preferences with the checkpoints of a `transformers` trainer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from karma.config.atomic_file import whole_file
from karma.data.preferences import Preferences
from karma.errors import SettingsError

#: The cursor's file in a checkpoint's folder.
CURSOR_FILE = "karma_cursor.json"


class SaveCursor(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Saves the cursor with each checkpoint.

    A trainer reads rows ahead and drops some (TRL those with long prompts), so the number of rows behind a step is
    taken where batches are made.

    Args:
        preferences: of which `to_datasets()` is the trainer's `train_dataset`.
    """

    def __init__(self, preferences: Preferences) -> None:
        self._preferences = preferences
        self._read: list[int] = [0]  # rows that were read once each batch was made
        self._begun_at = 0  # the step of the first batch

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Watch how batches are made.

        Raises:
            SettingsError: they are made in other processes, or the trainer skips what the cursor skips already.
        """
        if args.dataloader_num_workers:
            raise SettingsError(
                f"dataloader_num_workers is {args.dataloader_num_workers}, expected 0: the cursor is in this process"
            )
        if state.global_step and not args.ignore_data_skip:
            raise SettingsError(
                "the trainer resumes from a checkpoint and would skip rows that the cursor has skipped already: set "
                "ignore_data_skip=True"
            )
        self._begun_at = state.global_step
        loader = more["train_dataloader"]
        loader = getattr(loader, "base_dataloader", loader)
        loader.collate_fn = self._counted(loader.collate_fn)

    def _counted(self, collate: Callable[[Sequence[Any]], Any]) -> Callable[[Sequence[Any]], Any]:
        def counted(rows: Sequence[Any]) -> Any:
            self._read.append(self._preferences.rows_read)
            return collate(rows)

        return counted

    def on_save(self, args: Any, state: Any, control: Any, **_more: Any) -> None:
        """Write the cursor into the checkpoint."""
        if not state.is_world_process_zero:
            return
        batches = (state.global_step - self._begun_at) * args.gradient_accumulation_steps
        folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        with whole_file(folder / CURSOR_FILE) as unfinished:
            unfinished.write_text(json.dumps(self._preferences.state_dict(self._read[batches])))


def newest_checkpoint(output_dir: str | Path) -> str | None:
    """The newest checkpoint with a cursor, for `resume_from_checkpoint`; None if there is none yet.

    The cursor is written last, so a checkpoint that was cut off has none.
    """
    found = [file.parent for file in Path(output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*/{CURSOR_FILE}")]
    return str(max(found, key=lambda folder: int(folder.name.rpartition("-")[2]))) if found else None


def load_cursor(preferences: Preferences, checkpoint: str | Path) -> None:
    """Begin the next iteration where a checkpoint was saved.

    Raises:
        SettingsError: the folder has no cursor.
    """
    file = Path(checkpoint) / CURSOR_FILE
    try:
        state = json.loads(file.read_text())
    except (OSError, ValueError) as cause:
        raise SettingsError(f"{file} cannot be read: {cause}; train with the callback SaveCursor") from None
    preferences.load_state_dict(state)
