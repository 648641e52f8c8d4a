#!/bin/sh
# TRL 1.16.0: `DPOConfig(label_smoothing=…)` changes nothing under the default loss, and nothing says so.
#
# Seen: two DPO runs that differ only in label_smoothing (0 and 0.3) end in bit-identical weights under loss_type
# "sigmoid", without an error or a warning; under "robust" and "aot" they differ, although the option's help names
# Robust DPO and EXO only. Earlier versions smoothed the sigmoid loss (conservative DPO).
# Why it matters: whoever trains on labels of which some share is known to be wrong sets label_smoothing to that share,
# and trains exactly as if every label were right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "transformers==5.23.0" "trl==1.16.0" \
    "datasets==5.2.0"
cd "$folder"
HF_HOME="$folder/hf" HF_HUB_OFFLINE=1 TQDM_DISABLE=1 env/bin/python - <<'PYTHON' 2>"$folder/log" || { cat "$folder/log"; exit 1; }
import sys
import warnings
from importlib.metadata import version

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, PrinterCallback, set_seed
from trl import DPOConfig, DPOTrainer

words = ["<pad>", "<end>", "<unk>", "which", "is", "it", "the", "one", "other", "first", "last"]
plain = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
plain.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=plain, pad_token="<pad>", eos_token="<end>", unk_token="<unk>"
)
rows = [{"prompt": "which is it ", "chosen": "the first one", "rejected": "the other one"}] * 16

set_seed(1)
config = LlamaConfig(
    vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
)
LlamaForCausalLM(config).save_pretrained("made")
tokenizer.save_pretrained("made")


def trained(loss, smoothing):
    set_seed(1)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        trainer = DPOTrainer(
            model=LlamaForCausalLM.from_pretrained("made"),
            args=DPOConfig(
                output_dir="out", use_cpu=True, bf16=False, gradient_checkpointing=False, loss_type=[loss],
                label_smoothing=smoothing, max_steps=4, learning_rate=1e-2, save_strategy="no", report_to=[],
                logging_strategy="no", disable_tqdm=True, seed=1,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    named = [str(one.message) for one in warned if "smoothing" in str(one.message)]
    return torch.cat([weight.detach().flatten() for weight in trainer.model.parameters()]), named


print("trl", version("trl"), "torch", version("torch"), "transformers", version("transformers"))
same, said = {}, []
for loss in ("sigmoid", "robust", "aot"):
    (without, _), (with_some, warned) = trained(loss, 0.0), trained(loss, 0.3)
    same[loss] = torch.equal(without, with_some)
    said += warned
    print(f"  {loss}: weights after label_smoothing 0 and 0.3 {'are identical' if same[loss] else 'differ'}")
print(f"  warnings that name it: {len(said)}")
sys.exit("the behavior changed" if same != {"sigmoid": True, "robust": False, "aot": False} or said else 0)
PYTHON
