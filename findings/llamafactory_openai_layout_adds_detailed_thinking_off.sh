#!/bin/sh
# LLaMA-Factory 0.9.5 adds "detailed thinking off" to the system prompt of each row of the layout `openai` without tools.
#
# Seen: the same two chats are read with `formatting: openai` and `formatting: sharegpt`, with the same tags. Under sharegpt
# their system prompts are what the file says: none, and "Think step by step.". Under openai they are "detailed thinking
# off" and "Think step by step.\ndetailed thinking off", whatever the model and its template. A row with tools keeps its
# system prompt but for a line break at its end. Nothing is logged, and no option turns it off.
# Why it matters: the sentence is a switch of one family of models. Every other model is trained behind a system prompt
# that nobody wrote, and is asked without it later; beside instructions to reason it says the opposite.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check --no-compile "torch==2.13.0" "transformers==5.6.0" \
    "datasets==4.0.0" "accelerate==1.11.0" "peft==0.18.1" "trl==0.24.0" "omegaconf==2.4.0" "pillow==13.0.0"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps "llamafactory==0.9.5"
cd "$folder"
HF_HOME="$folder/hf" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 \
    env/bin/python - <<'PYTHON' 2>"$folder/log" || { cat "$folder/log"; exit 1; }
import json
import sys
import types
from importlib.machinery import ModuleSpec
from importlib.metadata import version

# Imported with the rest and used for recordings alone; a placeholder, since its wheels are tied to other versions of torch.
sys.modules["torchaudio"] = types.ModuleType("torchaudio")
sys.modules["torchaudio"].__spec__ = ModuleSpec("torchaudio", None)

from datasets import load_dataset
from llamafactory.data.converter import align_dataset
from llamafactory.data.parser import get_dataset_list
from llamafactory.hparams import DataArguments
from transformers import Seq2SeqTrainingArguments

turns = [{"role": "user", "content": "which is it?"}, {"role": "assistant", "content": "the first one"}]
plain = [{"messages": turns}, {"messages": [{"role": "system", "content": "Think step by step."}, *turns]}]
tool = {"name": "find", "description": "finds it", "parameters": {"type": "object", "properties": {}}}
with_tools = [{**row, "tools": json.dumps([tool])} for row in plain]
tags = {f"{name}_tag": name for name in ("role", "content", "user", "assistant", "system")}
described = {}
for name, rows in (("plain", plain), ("with_tools", with_tools)):
    with open(f"{name}.jsonl", "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    columns = {"messages": "messages"} | ({"tools": "tools"} if name == "with_tools" else {})
    for layout in ("sharegpt", "openai"):
        described[f"{layout}, {name}"] = {
            "file_name": f"{name}.jsonl", "formatting": layout, "columns": columns, "tags": tags
        }
with open("dataset_info.json", "w") as file:
    json.dump(described, file)


print("llamafactory", version("llamafactory"), "transformers", version("transformers"), "datasets", version("datasets"))
seen = {}
training = Seq2SeqTrainingArguments(output_dir="out", use_cpu=True)
for name, described_as in zip(described, get_dataset_list(list(described), "."), strict=True):
    read = load_dataset("json", data_files=described_as.dataset_name, split="train")
    seen[name] = [row["_system"] for row in align_dataset(read, described_as, DataArguments(), training)]
    print(f"  {name}: system prompts {seen[name]}")
as_seen = seen == {
    "sharegpt, plain": ["", "Think step by step."],
    "openai, plain": ["detailed thinking off", "Think step by step.\ndetailed thinking off"],
    "sharegpt, with_tools": ["", "Think step by step."],
    "openai, with_tools": ["", "Think step by step.\n"],
}
sys.exit(0 if as_seen else "the behavior changed")
PYTHON
