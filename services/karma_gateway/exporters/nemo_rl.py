"""`nemo-rl`: NeMo RL's `PreferenceDataset`: a `context` and two ranked `completions`; the lower rank is preferred."""

from __future__ import annotations

from typing import Any

from karma_gateway.exporters import PLAIN_CHAT, SPEAKERS, TOOLS, Format, Row, answer, prompt_of


def _columns(row: Any) -> Row:
    """One preference, its chosen response at rank 0."""
    return {
        "context": [{"role": turn["role"], "content": turn["content"]} for turn in prompt_of(row)],
        "completions": [
            {"rank": rank, "completion": answer(text)} for rank, text in enumerate((row.chosen_text, row.rejected_text))
        ],
    }


nemo_rl = Format(
    {"context": PLAIN_CHAT, "completions": [{"rank": "int64", "completion": PLAIN_CHAT}]},
    _columns,
    (TOOLS, SPEAKERS),
)
