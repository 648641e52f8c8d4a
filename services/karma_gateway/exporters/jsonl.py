"""`jsonl`: a preference with its texts flat."""

from __future__ import annotations

import json
from typing import Any

from karma_gateway.exporters import CHAT, Format, Row


def _columns(row: Any) -> Row:
    """One preference: id, messages, chosen and rejected text."""
    return {
        "id": f"{row.stream}/{row.prompt_id}/{row.id}",
        "messages": json.loads(row.messages),
        "chosen": row.chosen_text,
        "rejected": row.rejected_text,
    }


jsonl = Format({"id": "string", "messages": CHAT, "chosen": "string", "rejected": "string"}, _columns)
