#!/bin/sh
# OpenRLHF 0.11.2 cuts the first characters off every answer where the template's generation prompt opens `<think>`.
#
# Seen: RewardDataset renders the prompt with its generation prompt, renders the whole chat, and takes what follows the
# prompt's length for the answer. Where a template's generation prompt ends in "<think>\n", as templates of models that
# always reason do, the two differ by that tag, and each answer loses as many characters: of "the first one" it trains on
# "<think>\nt one", and of "neither" on "<think>\n|end|>", nothing but a broken end token. It is the same for reward models
# and for DPO. With the same template without the tag both answers are whole. No error, no warning.
# Why it matters: both sides of every pair lose what they begin with, and short answers, such as the choice between two
# options, are lost altogether.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"  # its wheel is built for Python 3.11
"$folder/env/bin/pip" install --quiet --disable-pip-version-check --no-compile "torch==2.13.0" "transformers==5.23.0" \
    "datasets==5.2.0" "sympy==1.14.0" "pylatexenc==2.11"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps "openrlhf==0.11.2"
cd "$folder"
HF_HOME="$folder/hf" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 \
    env/bin/python - <<'PYTHON' 2>"$folder/log" || { cat "$folder/log"; exit 1; }
import sys
from importlib.metadata import version
from types import SimpleNamespace

from datasets import Dataset
from openrlhf.datasets import RewardDataset
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

TURNS = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
TEMPLATES = {
    "plain": TURNS + "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    "opens <think>": TURNS + "{% if add_generation_prompt %}<|assistant|>\n<think>\n{% endif %}",
}
settings = SimpleNamespace(
    prompt_key="prompt", chosen_key="chosen", rejected_key="rejected", apply_chat_template=True,
    tokenizer_chat_template=None,
)


def said(role, text):
    return [{"role": role, "content": text}]


rows = Dataset.from_list(
    [
        {
            "prompt": said("user", "which is it?"),
            "chosen": said("assistant", "the first one"),
            "rejected": said("assistant", "neither"),
        }
    ]
)


def trained(template, dpo):
    """The texts of both sides as they are tokenized, behind the user's turn."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>")),
        unk_token="<unk>", eos_token="<|end|>", chat_template=TEMPLATES[template],
    )
    strategy = SimpleNamespace(args=SimpleNamespace(data=settings))
    read = RewardDataset(rows, tokenizer, 512, strategy, is_dpo=dpo, num_processors=1)
    start = len("<|user|>\nwhich is it?<|end|>\n")
    return tuple((read.prompts[0] + answers[0])[start:] for answers in (read.chosens, read.rejects))


print("openrlhf", version("openrlhf"), "transformers", version("transformers"), "datasets", version("datasets"))
seen = {}
for template in TEMPLATES:
    for dpo in (False, True):
        seen[template, dpo] = chosen, rejected = trained(template, dpo)
        print(f"  {template}, {'DPO' if dpo else 'reward model'}: chosen {chosen!r}, rejected {rejected!r}")
whole = ("<|assistant|>\nthe first one<|end|>\n", "<|assistant|>\nneither<|end|>\n")
cut = ("<|assistant|>\n<think>\nt one<|end|>\n", "<|assistant|>\n<think>\n|end|>\n")
as_seen = seen == {
    (template, dpo): whole if template == "plain" else cut for template in TEMPLATES for dpo in (False, True)
}
sys.exit(0 if as_seen else "the behavior changed")
PYTHON
