#!/bin/sh
# TRL 1.16.0: KTOTrainer given pairs trains on a thousand chosen answers in a row, then on their thousand rejected ones.
#
# Seen: KTOTrainer accepts the columns prompt, chosen and rejected and unpairs them itself. It does so in blocks of 1,000
# pairs: the chosen answers of a block, then its rejected ones. It also refuses every order of sampling but the sequential
# one, so nothing mixes them afterwards: with 1,200 pairs and batches of 8 the labels come in four runs of 1,000, 1,000,
# 200 and 200, and every one of the 300 batches holds answers of one label alone. Shuffling the pairs beforehand changes
# nothing. Nothing is logged. A dataset that was unpaired and shuffled by the caller has batches of both labels.
# Why it matters: KTO's loss is a mean over the good and the bad answers of a batch; here the model is pushed towards a
# thousand answers for 125 steps and away from their counterparts for the next 125. Whoever trains KTO on pairs has to
# unpair and mix them first.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check --no-compile "torch==2.13.0" "transformers==5.23.0" \
    "trl==1.16.0" "datasets==5.2.0"
cd "$folder"
HF_HOME="$folder/hf" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 TQDM_DISABLE=1 \
    env/bin/python - <<'PYTHON' 2>"$folder/log" || { cat "$folder/log"; exit 1; }
import itertools
import sys
import warnings
from importlib.metadata import version

from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import KTOConfig, KTOTrainer, unpair_preference_dataset

PAIRS, BATCH = 1200, 8
words = ["<pad>", "<end>", "<unk>", "which", "is", "it", "the", "one", "other"]
plain = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
plain.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=plain, pad_token="<pad>", eos_token="<end>", unk_token="<unk>"
)
config = LlamaConfig(
    vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
)
LlamaForCausalLM(config).save_pretrained("made")
tokenizer.save_pretrained("made")
pairs = Dataset.from_list(
    [{"prompt": "which is it ", "chosen": "the one", "rejected": "the other one"}] * PAIRS
).shuffle(seed=1)


def batches(rows, order="sequential"):
    """The labels of each batch that training would take, in order."""
    trainer = KTOTrainer(
        model=LlamaForCausalLM.from_pretrained("made"),
        args=KTOConfig(
            output_dir="out", use_cpu=True, bf16=False, gradient_checkpointing=False, report_to=[],
            per_device_train_batch_size=BATCH, train_sampling_strategy=order, seed=1,
        ),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    return [[bool(label) for label in batch["label"]] for batch in trainer.get_train_dataloader()]


def mixed(labels):
    return sum(len(set(batch)) == 2 for batch in labels)


with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    given = batches(pairs)
said = [str(one.message) for one in warned if "pair" in str(one.message) or "shuffl" in str(one.message)]
runs = [(label, len(list(group))) for label, group in itertools.groupby(itertools.chain(*given))]
by_hand = batches(unpair_preference_dataset(pairs).shuffle(seed=1))
try:
    batches(pairs, "random")
    refused = False
except ValueError:
    refused = True

print("trl", version("trl"), "transformers", version("transformers"), "datasets", version("datasets"))
print(f"  pairs: {len(given)} batches, {mixed(given)} of them with both labels; runs of one label: {runs}")
print(f"  unpaired and shuffled by hand: {len(by_hand)} batches, {mixed(by_hand)} of them with both labels")
print(f"  train_sampling_strategy='random' is refused: {refused}; warnings of it: {len(said)}")
as_seen = (
    runs == [(True, 1000), (False, 1000), (True, 200), (False, 200)]
    and mixed(given) == 0
    and mixed(by_hand) > 250
    and refused
    and not said
)
sys.exit(0 if as_seen else "the behavior changed")
PYTHON
