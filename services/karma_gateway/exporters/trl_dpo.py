"""`trl-dpo`: TRL's explicit, conversational preference format.

`prompt`, `chosen` and `rejected` are lists of `{role, content}`; chosen and rejected hold the assistant's turn only.
"""

from __future__ import annotations

from typing import Any

from karma_gateway.exporters import CHAT, PLAIN_CHAT, Format, Row, answer, prompt_of


def _columns(row: Any) -> Row:
    """One preference as TRL's DPO, ORPO and reward trainers read it."""
    return {"prompt": prompt_of(row), "chosen": answer(row.chosen_text), "rejected": answer(row.rejected_text)}


trl_dpo = Format({"prompt": CHAT, "chosen": PLAIN_CHAT, "rejected": PLAIN_CHAT}, _columns)
