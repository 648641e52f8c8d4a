"""`distilabel`: what distilabel's steps on ratings read, such as `FormatTextGenerationDPO` and argilla's exporter.

An `instruction` with its `system_prompt` (empty without one), two `generations` with their models, and as `ratings` the
probabilities that each is better.
"""

from __future__ import annotations

from typing import Any

from karma_gateway.exporters import (
    DEVELOPERS,
    SEVERAL_TURNS,
    SPEAKERS,
    TOOLS,
    UNEVEN_TURNS,
    Format,
    Row,
    probability_of,
    prompt_of,
    without_system,
)


def _columns(row: Any) -> Row:
    """One preference as two rated generations, the chosen one first."""
    turns = prompt_of(row)
    own, probability = without_system(turns), probability_of(row)
    return {
        "system_prompt": turns[0]["content"] if own is not turns else "",
        "instruction": own[0]["content"],
        "generations": [row.chosen_text, row.rejected_text],
        "generation_models": [row.chosen_model, row.rejected_model],
        "ratings": [probability, 1 - probability],
    }


distilabel = Format(
    {
        **dict.fromkeys(("system_prompt", "instruction"), "string"),
        "generations": ["string"],
        "generation_models": ["string"],
        "ratings": ["float64"],
    },
    _columns,
    (TOOLS, SPEAKERS, DEVELOPERS, SEVERAL_TURNS, UNEVEN_TURNS),
)
