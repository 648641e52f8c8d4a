"""`trl-dpo`: TRL's explicit, conversational preference format.

`prompt`, `chosen` and `rejected` are lists of `{role, content}`; chosen and rejected hold the assistant's turn only.
"""

from __future__ import annotations

import json
from typing import Any

from karma_gateway.exporters import with_karma


def trl_dpo(row: Any, bare: bool) -> dict[str, Any]:
    """One preference as TRL's DPO, ORPO and reward trainers read it."""
    columns = {
        "prompt": json.loads(row.messages),
        "chosen": [{"role": "assistant", "content": row.chosen_text}],
        "rejected": [{"role": "assistant", "content": row.rejected_text}],
    }
    return with_karma(columns, row, bare)
