"""`jsonl`: a preference with its texts flat."""

from __future__ import annotations

from typing import Any

from karma_gateway.exporters import CHAT, Format, Row, prompt_of


def _columns(row: Any) -> Row:
    """One preference: id, messages, chosen and rejected text."""
    return {
        "id": f"{row.stream}/{row.prompt_id}/{row.id}",
        "messages": prompt_of(row),
        "chosen": row.chosen_text,
        "rejected": row.rejected_text,
    }


jsonl = Format({"id": "string", "messages": CHAT, "chosen": "string", "rejected": "string"}, _columns)
