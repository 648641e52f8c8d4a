"""Frozen embeddings of texts by the product's embedder, kept in a folder if one is given."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from karma_scoring.skill_discovery.embedding import Embedder, Vectors

CHARACTERS = 600  # of each text's beginning, some 130 tokens; twice as many cost twice the time


def embedded(texts: Sequence[str], cache: Path | None = None) -> Vectors:
    """Unit vectors, [n, 384]. Some 20 texts of full length a CPU-second."""
    cut = [text[:CHARACTERS] for text in texts]
    if cache is None:
        return _embed(cut)
    name = hashlib.blake2b("\x1f".join(cut).encode(), digest_size=12).hexdigest()
    file = cache / f"embeddings-{name}.npy"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(file, _embed(cut))
    found: Vectors = np.load(file)
    return found


def _embed(texts: Sequence[str]) -> Vectors:
    print(f"embedding {len(texts)} texts", file=sys.stderr, flush=True)
    return Embedder().embed(texts)
