"""`kto`: TRL's unpaired preference format. A preference makes two rows: its chosen response, and its rejected one.

TRL's KTOTrainer neither shuffles nor mixes, and takes the next row of a batch for an answer to another prompt. So the
rows are written mixed, and no two answers to a prompt are neighbors.
"""

from __future__ import annotations

from typing import Any

from karma_gateway.exporters import CHAT, PLAIN_CHAT, Format, Row, answer, prompt_of


def _columns(row: Any) -> list[Row]:
    """The chosen response, which is desirable, and the rejected one, which is not."""
    turns = prompt_of(row)
    return [
        {"prompt": turns, "completion": answer(text), "label": label}
        for text, label in ((row.chosen_text, True), (row.rejected_text, False))
    ]


kto = Format(
    {"prompt": CHAT, "completion": PLAIN_CHAT, "label": "bool"},
    _columns,
    mixed=True,
    note="as many desirable rows as undesirable ones: KTOConfig(desirable_weight=1.0, undesirable_weight=1.0)",
)
