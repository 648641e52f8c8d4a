#!/bin/sh
# transformers 5.23.0: a streamed dataset's state at the Trainer's `on_save` is one batch ahead of what was trained.
#
# Seen: a callback keeps `IterableDataset.state_dict()` at each save, as its documentation offers it for resuming. With
# batches of 4, after step 3 rows 0 to 11 were trained, and the state goes on at row 16: rows 12 to 15 were read and not
# trained, and a run that resumes there never sees them. The loader of accelerate asks for the next batch before it gives
# out the current one. accelerate allows for that in the state of its own stateful loader; the dataset's own state cannot
# know of it, and nothing warns. A plain DataLoader over the same dataset goes on at row 12. Behind a `.filter()` that keeps
# every third row the hole is the next batch as well, 12 rows of the source.
# Why it matters: each resumption loses a batch, with no error and no trace in the log. Whoever resumes a
# stream has to count what was trained, or keep the state of one batch earlier.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check --no-compile "torch==2.13.0" "transformers==5.23.0" \
    "accelerate==1.15.0" "datasets==5.2.0"
cd "$folder"
HF_HOME="$folder/hf" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 TQDM_DISABLE=1 \
    env/bin/python - <<'PYTHON' 2>"$folder/log" || { cat "$folder/log"; exit 1; }
import sys
import warnings
from importlib.metadata import version

import torch
from datasets import Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

BATCH, STEPS = 4, (3, 6)
table = Dataset.from_dict({"x": [float(place) for place in range(96)]})


class Noting(torch.nn.Module):
    """A model of one weight that notes the rows it is trained on."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.rows = []

    def forward(self, x=None):
        self.rows += [int(value) for value in x]
        return {"loss": (self.weight - x).pow(2).mean()}


class Keeping(TrainerCallback):
    """Keeps the dataset's own state at each save."""

    def __init__(self, stream):
        self.stream, self.states = stream, {}

    def on_save(self, args, state, control, **rest):
        self.states[state.global_step] = self.stream.state_dict()


def goes_on_at(make, state):
    stream = make()
    stream.load_state_dict(state)
    return int(next(iter(stream))["x"])


def trained(make):
    """For each save: the last row that was trained, and the first one after the state is loaded."""
    stream, model = make(), Noting()
    keeping = Keeping(stream)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir="out", use_cpu=True, per_device_train_batch_size=BATCH, max_steps=8, save_steps=3,
            save_strategy="steps", save_only_model=True, report_to=[], logging_strategy="no", disable_tqdm=True,
        ),
        train_dataset=stream,
        callbacks=[keeping],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return [(model.rows[BATCH * step - 1], goes_on_at(make, keeping.states[step])) for step in STEPS]


def looped(make):
    """The same in a plain loop over a DataLoader."""
    stream, seen = make(), []
    for step, batch in enumerate(torch.utils.data.DataLoader(stream, batch_size=BATCH), start=1):
        if step in STEPS:
            seen.append((int(batch["x"][-1]), goes_on_at(make, stream.state_dict())))
    return seen


def every():
    return table.to_iterable_dataset()


def thirds():
    return table.to_iterable_dataset().filter(lambda row: row["x"] % 3 == 0)


with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    seen = {"Trainer": trained(every), "Trainer, every third row": trained(thirds), "DataLoader": looped(every)}
said = [str(one.message) for one in warned if "state" in str(one.message)]
print("transformers", version("transformers"), "accelerate", version("accelerate"), "datasets", version("datasets"))
for what, steps in seen.items():
    for step, (last, following) in zip(STEPS, steps, strict=True):
        print(f"  {what}, step {step}: trained up to row {last}, the state goes on at row {following}")
print(f"  warnings of it: {len(said)}")
as_seen = not said and seen == {
    "Trainer": [(11, 16), (23, 28)],
    "Trainer, every third row": [(33, 48), (69, 84)],
    "DataLoader": [(11, 12), (23, 24)],
}
sys.exit(0 if as_seen else "the behavior changed")
PYTHON
