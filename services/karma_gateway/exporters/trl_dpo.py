"""`trl-dpo`: TRL's explicit, conversational preference format.

`prompt`, `chosen` and `rejected` are lists of `{role, content}`; chosen and rejected hold the assistant's turn only.
"""

from __future__ import annotations

import json
from typing import Any

from karma_gateway.exporters import CHAT, Format, Row

_ANSWER = [{"role": "string", "content": "string"}]


def _columns(row: Any) -> Row:
    """One preference as TRL's DPO, ORPO and reward trainers read it."""
    return {
        "prompt": json.loads(row.messages),
        "chosen": [{"role": "assistant", "content": row.chosen_text}],
        "rejected": [{"role": "assistant", "content": row.rejected_text}],
    }


trl_dpo = Format({"prompt": CHAT, "chosen": _ANSWER, "rejected": _ANSWER}, _columns)
