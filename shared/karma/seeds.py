"""Seeds: every random choice about a prompt is seeded with the prompt's name, so that it is reproducible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any
from unicodedata import normalize

#: Seeds are below this.
SEEDS = 2.0**63


def seed_of(*parts: str | int) -> int:
    """A seed in [0, 2⁶³), equal for equal parts on every machine."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 1


def prompt_seed(turns: Sequence[Mapping[str, Any]]) -> int:
    """The seed of what the user says in a prompt, whatever its case, white space and form of Unicode.

    Prompts that differ in no more than that belong on the same side of a split.
    """
    texts = [turn["content"] for turn in turns if turn["role"] == "user"] or [turn["content"] for turn in turns]
    return seed_of(*(" ".join(normalize("NFKC", text).casefold().split()) for text in texts))
