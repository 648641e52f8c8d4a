#!/bin/sh
# transformers 5.23.0 reads the score of a decoder's classifier before a text's end token where that is also the padding.
#
# Seen: LlamaForSequenceClassification pools the last token whose id is not pad_token_id. Many tokenizers have no padding
# token of their own and are given the end token (pad_token = eos_token). Then a text that ends with the end token, as chat
# templates write it, has exactly the score of the same text without it, alone and in a batch, also with an attention mask
# that says that the token is no padding. With any other padding id the two scores differ.
# Why it matters: a reward model is trained at one of the two positions. Whoever sets the padding token to make batches
# work moves the position at which the score is read, without a word, and gets other scores than the model was trained to give.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "transformers==5.23.0" "torch==2.13.0"
cd "$folder"
HF_HOME="$folder/hf" HF_HUB_OFFLINE=1 env/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

END, OTHER = 2, 31
torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_labels=1
)
model = LlamaForSequenceClassification(config).eval()


def score(tokens, pad):
    model.config.pad_token_id = pad
    ids = torch.tensor([tokens])
    with torch.inference_mode():
        return float(model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, 0])


text = [5, 6, 7, 8]
print("transformers", version("transformers"))
same = abs(score([*text, END], END) - score(text, END)) < 1e-6
apart = abs(score([*text, END], OTHER) - score(text, OTHER)) > 1e-3
print("  padding is the end token: the score with and without a final end token is the same:", same)
print("  padding is another token: the scores differ:", apart)
sys.exit(0 if same and apart else "the behavior changed")
PYTHON
