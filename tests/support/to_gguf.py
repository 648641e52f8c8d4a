"""Converts a checkpoint of the tiny family to GGUF: `python to_gguf.py NAME FOLDER`, with the package gguf.

It runs in the environment of llama.cpp's server, without KARMA's packages; KARMA_TEST_CHECKPOINT names the checkpoint.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np

_NAMES = {
    "input_layernorm": "attn_norm",
    "mlp.down_proj": "ffn_down",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
}


def tensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file in half precision, by their names."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + size])
    body = data[8 + size :]
    return {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], dtype=np.float16).reshape(entry["shape"])
        for name, entry in head.items()
        if name != "__metadata__"
    }


def permuted(weights: np.ndarray, heads: int) -> np.ndarray:
    """Rows in the order of llama.cpp's rotary embedding: pairs side by side instead of in two halves."""
    return weights.reshape(heads, 2, -1, weights.shape[1]).swapaxes(1, 2).reshape(weights.shape)


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    checkpoint = Path(os.environ["KARMA_TEST_CHECKPOINT"])
    config: dict[str, Any] = json.loads((checkpoint / "config.json").read_text())
    tokenizer = json.loads((checkpoint / "tokenizer.json").read_text())
    heads = config["num_attention_heads"]
    writer = gguf.GGUFWriter(folder / f"{name}.gguf", "llama")
    writer.add_name(name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    vocabulary = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    special = {token["content"] for token in tokenizer["added_tokens"]}
    kinds = [gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in vocabulary]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")  # whole words before merges, of which there are none
    writer.add_token_list(vocabulary)
    writer.add_token_types(kinds)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template((checkpoint / "chat_template.jinja").read_text())
    for key, array in tensors(checkpoint / "model.safetensors").items():
        if key == "model.embed_tokens.weight":
            writer.add_tensor("token_embd.weight", array)
        elif key == "model.norm.weight":
            writer.add_tensor("output_norm.weight", array.astype(np.float32))
        else:
            _model, _layers, layer, rest = key.split(".", 3)
            part = rest.removesuffix(".weight")
            rotated = part in ("self_attn.q_proj", "self_attn.k_proj")
            weights = permuted(array, heads) if rotated else array
            kept = weights.astype(np.float32) if weights.ndim == 1 else np.ascontiguousarray(weights)
            writer.add_tensor(f"blk.{layer}.{_NAMES[part]}.weight", kept)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
