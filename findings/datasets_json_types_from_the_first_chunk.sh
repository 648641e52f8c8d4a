#!/bin/sh
# datasets 5.2.0 takes the types of a JSON Lines file from its first chunk of 10 MiB.
#
# Seen: a column that is null in the first 10 MiB and text in a later row fails the whole file with "Couldn't cast";
# the same rows below 10 MiB load. A text column whose values look like ISO dates comes back as timestamps.
# Why it matters: a dataset that grows (a column that is filled late, as a skill or a cost) loads today and not tomorrow,
# and ids that look like dates lose their text. Whoever writes JSON Lines for training must declare the features.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "datasets==5.2.0" "pyarrow==26.0.1"
cd "$folder"
HF_HOME="$folder/hf" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 env/bin/python - <<'PYTHON'
import datetime
import json
import sys
from importlib.metadata import version

from datasets import load_dataset
from datasets.exceptions import DatasetGenerationError


def written(name, rows):
    with open(name, "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return name


def loads(name):
    try:
        return load_dataset("json", data_files=name, split="train").num_rows
    except DatasetGenerationError as error:
        return f"{type(error.__cause__).__name__}: {str(error.__cause__).splitlines()[0][:60]}"


text = "word " * 800
late = [{"text": text, "skill": None}] * 3000 + [{"text": text, "skill": "talk"}] * 10
early = [{"text": "w", "skill": None}] * 3000 + [{"text": "w", "skill": "talk"}] * 10
seen = {
    "null for 12 MB, then text": loads(written("late.jsonl", late)),
    "null for 100 KB, then text": loads(written("early.jsonl", early)),
    "a text that looks like a date": type(
        load_dataset("json", data_files=written("dates.jsonl", [{"id": "2026-11-28"}] * 3), split="train")[0]["id"]
    ).__name__,
}
print("datasets", version("datasets"), "pyarrow", version("pyarrow"))
for what, value in seen.items():
    print(f"  {what}: {value}")
changed = not (
    str(seen["null for 12 MB, then text"]).startswith("TypeError: Couldn't cast")
    and seen["null for 100 KB, then text"] == 3010
    and seen["a text that looks like a date"] == datetime.datetime.__name__
)
sys.exit("the behavior changed" if changed else 0)
PYTHON
