#!/bin/sh
# sentence-transformers 6.2.0 hands use_safetensors to the transformer alone: other modules read pytorch_model.bin all the same.
#
# Seen: a model of a static embedding and a dense layer, saved with safe_serialization=False, has two pytorch_model.bin and
# no safetensors. With model_kwargs={"use_safetensors": True} it loads without a word and gives the same vectors. (The files
# are read by torch.load with weights_only=True.)
# Why it matters: the option reads as "only safetensors", and means it in transformers. Whoever wants that of an embedder has
# to look at the files of every module first.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "sentence-transformers==6.2.0" "torch==2.13.0"
cd "$folder"
HF_HOME="$folder/hf" HF_HUB_OFFLINE=1 env/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version
from pathlib import Path

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, StaticEmbedding
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

words = Tokenizer(WordLevel({"[UNK]": 0, "hello": 1, "world": 2}, unk_token="[UNK]"))
words.pre_tokenizer = Whitespace()
made = SentenceTransformer(modules=[StaticEmbedding(words, embedding_dim=8), Dense(8, 4)], device="cpu")
made.save_pretrained("model", safe_serialization=False)
weights = sorted(str(path) for path in Path("model").rglob("*") if path.suffix in (".bin", ".safetensors"))
try:
    read = SentenceTransformer("model", device="cpu", model_kwargs={"use_safetensors": True})
    same = bool(abs(read.encode(["hello world"]) - made.encode(["hello world"])).max() < 1e-6)
except (OSError, ValueError) as error:
    same = f"{type(error).__name__}: {error}"
print("sentence-transformers", version("sentence-transformers"))
print("  weights:", ", ".join(weights))
print("  loaded with use_safetensors=True, and gives the same vectors:", same)
sys.exit("the behavior changed" if same is not True or any(name.endswith(".safetensors") for name in weights) else 0)
PYTHON
