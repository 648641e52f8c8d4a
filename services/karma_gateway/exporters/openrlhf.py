"""`openrlhf`: what OpenRLHF reads with `--prompt_key prompt --apply_chat_template`, for DPO and reward models.

It puts `prompt` before `chosen` and `rejected` itself, and takes `margin` (logits) for reward models with
`--margin_loss`.
"""

from __future__ import annotations

from typing import Any

from karma_gateway.exporters import CHAT, PLAIN_CHAT, Format, Row, answer, margin_of, prompt_of


def _columns(row: Any) -> Row:
    """One preference with its margin in logits."""
    return {
        "prompt": prompt_of(row),
        "chosen": answer(row.chosen_text),
        "rejected": answer(row.rejected_text),
        "margin": margin_of(row),
    }


openrlhf = Format(
    {"prompt": CHAT, "chosen": PLAIN_CHAT, "rejected": PLAIN_CHAT, "margin": "float64"},
    _columns,
    note="OpenRLHF cuts an answer by the length of the rendered prompt: with a chat template that ends its generation "
    "prompt in an opening tag, such as <think>, each answer loses its first characters",
)
