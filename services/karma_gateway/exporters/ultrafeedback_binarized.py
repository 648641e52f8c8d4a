"""`ultrafeedback-binarized`: the columns of HuggingFaceH4/ultrafeedback_binarized, but for the text `prompt`.

`chosen`, `rejected` and `messages` (the chosen one again) are whole chats; the scores are the probabilities that each
response is better. TRL 1.16 fails on a text `prompt` beside whole chats, and trains on a doubled user turn if it is a
chat; `prompt_id`, the SHA-256 of that text, stays.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from karma_gateway.exporters import CHAT, Format, Row, answer, probability_of, prompt_of, without_system


def _columns(row: Any) -> Row:
    """One preference as two whole chats with scores."""
    turns = prompt_of(row)
    chosen, probability = turns + answer(row.chosen_text), probability_of(row)
    return {
        "prompt_id": sha256(without_system(turns)[0]["content"].encode()).hexdigest(),
        "chosen": chosen,
        "rejected": turns + answer(row.rejected_text),
        "messages": chosen,
        "score_chosen": probability,
        "score_rejected": 1 - probability,
    }


ultrafeedback_binarized = Format(
    {
        "prompt_id": "string",
        **dict.fromkeys(("chosen", "rejected", "messages"), CHAT),
        **dict.fromkeys(("score_chosen", "score_rejected"), "float64"),
    },
    _columns,
)
