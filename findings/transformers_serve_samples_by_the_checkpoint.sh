#!/bin/sh
# `transformers serve` 5.23.0 samples only where the checkpoint's generation_config says so.
#
# Seen: a request with temperature 1.5 gets the same text for every seed from a checkpoint without `do_sample`, with
# status 200 and no word about it; from the same weights with `do_sample: true` in generation_config.json the texts differ.
# Why it matters: several samples of one model for a prompt are then one text, and no preference can be formed of them.
set -eu
folder=$(mktemp -d)
server=0
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "transformers[serving]==5.23.0"
cd "$folder"
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
env/bin/python - <<'PYTHON'
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as Decoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

torch.manual_seed(0)
vocabulary = {token: number for number, token in enumerate(["<s>", "</s>", *sorted(ByteLevel.alphabet())])}
tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
tokenizer.pre_tokenizer, tokenizer.decoder = ByteLevel(add_prefix_space=False), Decoder()
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
fast.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
config = LlamaConfig(
    vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
    max_position_embeddings=256, bos_token_id=0, eos_token_id=1, pad_token_id=1,
)
model = LlamaForCausalLM(config)
for name, samples in (("without", False), ("with", True)):
    model.save_pretrained(name)
    fast.save_pretrained(name)
    Path(name, "generation_config.json").write_text(
        json.dumps({"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, **({"do_sample": True} if samples else {})})
    )
PYTHON
port=$(env/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
env/bin/transformers serve --host 127.0.0.1 --port "$port" --device cpu > serve.log 2>&1 &
server=$!
PORT=$port env/bin/python - <<'PYTHON'
import json
import os
import sys
import time
import urllib.error
import urllib.request
from importlib.metadata import version
from pathlib import Path

address = f"http://127.0.0.1:{os.environ['PORT']}"


def text(folder, seed):
    body = {
        "model": str(Path(folder).resolve()), "messages": [{"role": "user", "content": "Hello"}],
        "temperature": 1.5, "seed": seed, "max_tokens": 24,
    }
    request = urllib.request.Request(
        f"{address}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]


deadline = time.monotonic() + 120
while time.monotonic() < deadline:
    try:
        urllib.request.urlopen(f"{address}/health", timeout=2)
        break
    except (urllib.error.URLError, ConnectionError):
        time.sleep(0.5)
different = {folder: len({text(folder, seed) for seed in range(5)}) for folder in ("without", "with")}
print("transformers", version("transformers"))
for folder, number in different.items():
    print(f"  {folder} do_sample in generation_config: {number} different texts for 5 seeds at temperature 1.5")
sys.exit(0 if different["without"] == 1 and different["with"] > 1 else "the behavior changed")
PYTHON
