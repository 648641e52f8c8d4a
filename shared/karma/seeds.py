"""Seeds: every random choice about a prompt is seeded with the prompt's name, so that it is reproducible."""

from __future__ import annotations

from hashlib import blake2b


def seed_of(*parts: str | int) -> int:
    """A seed in [0, 2⁶³), equal for equal parts on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 1
