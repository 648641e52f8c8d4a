#!/bin/sh
# axolotl 0.19.0: `type: chat_template.default` of DPO cuts an answer out of its rendered chat by a search for its text.
#
# Seen: the answer is rendered behind a made-up user turn, and what follows the first place at which its text occurs is
# trained on. Where a template trims contents (llama3, gemma), an answer that ends with a line break is not found, the
# search's -1 is taken for a place, and of the rendered chat its last character is left: ">" under llama3, nothing under
# gemma, where that is a line break. chatml does not trim and keeps the whole answer. An answer that also occurs in the
# frame is found there: "a" under llama3 starts inside the tag of the made-up turn and takes that turn along, and "3" under
# mistral_v7_tekken takes the rest of the template's own system prompt along. No error, no warning.
# Why it matters: a sampled answer may end with a line break, and the answer to a question with options is one character.
# Such a side of a pair is no longer what was judged, and DPO learns to tell a text from ">".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check --no-compile "torch==2.13.0" "transformers==5.16.1" \
    "datasets==4.8.4" "accelerate==1.13.0" "colorama==0.4.6"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps "axolotl==0.19.0"
cd "$folder"
HF_HOME="$folder/hf" HF_HUB_OFFLINE=1 AXOLOTL_DO_NOT_TRACK=1 \
    env/bin/python - <<'PYTHON' 2>"$folder/log" || { cat "$folder/log"; exit 1; }
import sys
from importlib.metadata import version

from axolotl.prompt_strategies.dpo import load
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>")), bos_token="<s>", eos_token="</s>"
)


class Settings(dict):
    """A part of the settings whose keys are attributes too, as axolotl's own."""

    __getattr__ = dict.get


def trained(template, answer):
    """What axolotl trains on as the answer."""
    settings = Settings(chat_template=template, datasets=[Settings(type="chat_template.default")])
    transform, _ = load("chat_template.default", settings, dataset_idx=0)
    row = {
        "messages": [{"role": "user", "content": "which is it?"}],
        "chosen": {"role": "assistant", "content": answer},
        "rejected": {"role": "assistant", "content": "neither"},
    }
    return transform(row, tokenizer=tokenizer)["chosen"]


print("axolotl", version("axolotl"), "transformers", version("transformers"))
seen = {}
for template, answer in (
    ("llama3", "The first one."),
    ("llama3", "The first one.\n"),
    ("gemma", "The first one.\n"),
    ("chatml", "The first one.\n"),
    ("llama3", "b"),
    ("llama3", "a"),
    ("mistral_v7_tekken", "3"),
):
    seen[template, answer] = got = trained(template, answer)
    print(f"  {template}, answer {answer!r}: {got[:70]!r}" + (f" and {len(got) - 70} more" if len(got) > 70 else ""))
as_seen = (
    seen["llama3", "The first one."] == "The first one.<|eot_id|>"
    and seen["llama3", "The first one.\n"] == ">"
    and seen["gemma", "The first one.\n"] == ""
    and seen["chatml", "The first one.\n"] == "The first one.\n<|im_end|>"
    and seen["llama3", "b"] == "b<|eot_id|>"
    and seen["llama3", "a"].startswith("art_header_id|>user")
    and "Large Language Model" in seen["mistral_v7_tekken", "3"]
)
sys.exit(0 if as_seen else "the behavior changed")
PYTHON
