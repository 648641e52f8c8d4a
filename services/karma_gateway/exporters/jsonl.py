"""`jsonl`: a preference with its texts flat."""

from __future__ import annotations

import json
from typing import Any

from karma_gateway.exporters import with_karma


def jsonl(row: Any, bare: bool) -> dict[str, Any]:
    """One preference: id, messages, chosen and rejected text."""
    columns = {
        "id": f"{row.stream}/{row.prompt_id}/{row.id}",
        "messages": json.loads(row.messages),
        "chosen": row.chosen_text,
        "rejected": row.rejected_text,
    }
    return with_karma(columns, row, bare)
