"""`llama-factory`: LLaMA-Factory's `sharegpt` layout of a ranking.

`conversations` is the prompt, `chosen` and `rejected` are one turn each, all as `{from, value}`. Its `openai` layout is
no choice: it adds a line to system prompts, and a `chosen` that is a list makes the user's turn the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from karma_gateway.exporters import DEVELOPERS, SPEAKERS, TOOLS, UNEVEN_TURNS, Format, Row, prompt_of

_NAMES = {"system": "system", "user": "human", "assistant": "gpt"}
_TURN = {"from": "string", "value": "string"}


def _columns(row: Any) -> Row:
    """One preference as a ranking of two answers."""
    return {
        "conversations": [{"from": _NAMES[turn["role"]], "value": turn["content"]} for turn in prompt_of(row)],
        "chosen": {"from": "gpt", "value": row.chosen_text},
        "rejected": {"from": "gpt", "value": row.rejected_text},
    }


def _entries(files: Mapping[str, Sequence[str]]) -> Mapping[str, Any]:
    """`dataset_info.json`, by which LLaMA-Factory finds data sets: one entry per file, as it reads one file each."""
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
    info = {
        f"karma_{split}" + (f"_{index}" if len(paths) > 1 else ""): {
            "file_name": path,
            "ranking": True,
            "formatting": "sharegpt",
            "columns": columns,
        }
        for split, paths in files.items()
        for index, path in enumerate(paths)
    }
    return {"dataset_info.json": info}


llama_factory = Format(
    {"conversations": [_TURN], "chosen": _TURN, "rejected": _TURN},
    _columns,
    (TOOLS, SPEAKERS, DEVELOPERS, UNEVEN_TURNS),
    entries=_entries,
)
