"""`trl-dpo-implicit`: TRL's preference format whose prompt stands in both chats.

`chosen` and `rejected` are whole chats. TRL takes the turns that they share for the prompt, and any column `prompt`
beside them for the prompt in front of both: there is none.
"""

from __future__ import annotations

from typing import Any

from karma_gateway.exporters import CHAT, Format, Row, answer, prompt_of


def _columns(row: Any) -> Row:
    """One preference as two whole chats."""
    turns = prompt_of(row)
    return {"chosen": turns + answer(row.chosen_text), "rejected": turns + answer(row.rejected_text)}


trl_dpo_implicit = Format({"chosen": CHAT, "rejected": CHAT}, _columns)
