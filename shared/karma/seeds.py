"""Seeds: every choice about a prompt is drawn from the prompt's own name, so that it can be drawn again."""

from __future__ import annotations

from hashlib import blake2b


def seed_of(*parts: str | int) -> int:
    """A seed in [0, 2⁶³) that is the same for the same parts, on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 1
