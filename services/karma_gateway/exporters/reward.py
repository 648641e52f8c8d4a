"""`reward`: TRL's format for reward models, an explicit preference with a `margin`.

TRL's RewardTrainer subtracts the margin from the difference of the two rewards (Llama 2, arXiv 2307.09288, equation 2),
so it is in logits, the unit of a Bradley–Terry reward. One margin that is not finite makes every weight of the model
NaN.
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


reward = Format({"prompt": CHAT, "chosen": PLAIN_CHAT, "rejected": PLAIN_CHAT, "margin": "float64"}, _columns)
