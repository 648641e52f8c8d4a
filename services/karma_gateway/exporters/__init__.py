"""Exporters: the formats of `karma export`, one file each.

This module has what they share: the column `karma`, which says where a preference comes from, and what a format cannot
hold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from karma.config.pricing import Usage, money
from karma.errors import UnrepresentableError
from karma.ranking.verdict_sources import HUMAN
from karma.verdicts import agreement, agrees_with_competency, opinions

Row = dict[str, Any]
Turns = list[dict[str, Any]]

#: Name of a column → its type (`karma_gateway.exports.columns`).
Columns = Mapping[str, Any]


#: The type of a chat (`karma_gateway.exports.columns`). What tools need stands only in files that have such turns.
CHAT = [
    {
        "role": "string",
        "content": "string",
        "name?": "string",
        "tool_calls?": [
            {"id?": "string", "type": "string", "function": {"name": "string", "arguments": "string"}},
        ],
        "tool_call_id?": "string",
    }
]

#: The type of an answer, and of a chat in a format that has nothing else.
PLAIN_CHAT = [{"role": "string", "content": "string"}]

#: The largest probability that a margin is made of: 4.6 logits. A judge that says 1 is not infinitely sure.
_MOST_CERTAIN = 0.99

#: The types of the column `karma`.
KARMA = {
    **dict.fromkeys(("stream", "prompt_id", "skill"), "string"),
    **dict.fromkeys(("pair", "chosen_response", "rejected_response"), "int64"),
    **dict.fromkeys(("chosen_model", "rejected_model"), "string"),
    **dict.fromkeys(("probability", "tie_probability"), "float64"),
    "flipped": "bool",
    **dict.fromkeys(("label_source", "policy"), "string"),
    **dict.fromkeys(("kinship", "competency_gap", "competency_gap_deviation"), "float64"),
    **dict.fromkeys(("information", "likeness", "novelty", "judged_probability"), "float64"),
    "snapshot": "int64",
    "length_ratio": "float64",
    "agrees_with_competency": "bool",
    "judge_agreement": "float64",
    **dict.fromkeys(("judges_valid", "judges_asked", "tokens"), "int64"),
    "cost": "float64",
    **dict.fromkeys(("chosen_finish_reason", "rejected_finish_reason"), "string"),
    **dict.fromkeys(("chosen_has_reasoning", "rejected_has_reasoning"), "bool"),
    "metadata": "string",
}


@dataclass(frozen=True)
class Limit:
    """Something in a prompt that a format has no place for."""

    what: str  # as in: left out, as the format has no place for …
    applies: Callable[[Turns], bool]


TOOLS = Limit(
    "tool calls and their results", lambda turns: any(turn["role"] == "tool" or "tool_calls" in turn for turn in turns)
)
SPEAKERS = Limit("the names of speakers", lambda turns: any(turn.get("name") is not None for turn in turns))
DEVELOPERS = Limit("turns of a developer", lambda turns: any(turn["role"] == "developer" for turn in turns))
SEVERAL_TURNS = Limit("several turns", lambda turns: len(without_system(turns)) > 1)
UNEVEN_TURNS = Limit(
    "turns other than user and assistant in turn, after at most one system turn",
    lambda turns: any(
        turn["role"] != ("user", "assistant")[index % 2] for index, turn in enumerate(without_system(turns))
    ),
)


class Format:
    """An exporter: a function that makes the columns of a format, their types, and the column `karma`.

    Attributes:
        columns: the types of all columns.
        mixed: rows are written in an order in which no two answers to a prompt are neighbors.
        note: a sentence that a user of the format must know.
        entries: what a trainer's own file of data sets says of a folder of this format: name of that file → its
            content, by the paths of the files of each split.
    """

    def __init__(
        self,
        columns: Columns,
        make: Callable[[Any], Row | Sequence[Row]],
        limits: Sequence[Limit] = (),
        *,
        mixed: bool = False,
        note: str = "",
        entries: Callable[[Mapping[str, Sequence[str]]], Mapping[str, Any]] | None = None,
    ) -> None:
        self.columns = {**columns, "karma": KARMA}
        self.mixed = mixed
        self.note = note
        self.entries = entries
        self._make = make
        self._limits = limits

    def __call__(self, row: Any, bare: bool) -> Row | list[Row]:
        """The columns of the format and, unless `bare`, the column `karma`; a list where a pair makes several rows.

        Raises:
            UnrepresentableError: the format has no place for something of the preference.
        """
        turns = prompt_of(row) if self._limits else []
        for limit in self._limits:
            if limit.applies(turns):
                raise UnrepresentableError(limit.what)
        made = self._make(row)
        more = {} if bare else {"karma": karma_column(row)}
        return {**made, **more} if isinstance(made, Mapping) else [{**own, **more} for own in made]


def prompt_of(row: Any) -> Turns:
    """The turns of the prompt."""
    try:
        turns: Turns = msgspec.json.decode(row.messages)
    except msgspec.DecodeError:  # half of a surrogate pair
        turns = json.loads(row.messages)
    return turns


def answer(text: str) -> Turns:
    """A response as the assistant's turn."""
    return [{"role": "assistant", "content": text}]


#: The columns of `explicit_with_margin`.
EXPLICIT_WITH_MARGIN = {"prompt": CHAT, "chosen": PLAIN_CHAT, "rejected": PLAIN_CHAT, "margin": "float64"}


def explicit_with_margin(row: Any) -> Row:
    """The prompt and the two answers as chats, with the margin in logits."""
    return {
        "prompt": prompt_of(row),
        "chosen": answer(row.chosen_text),
        "rejected": answer(row.rejected_text),
        "margin": margin_of(row),
    }


def without_system(turns: Turns) -> Turns:
    """The turns after a system turn at the beginning."""
    return turns[1:] if turns[0]["role"] == "system" else turns


def probability_of(row: Any) -> float:
    """The probability that the chosen response is better."""
    return float(row.probability if row.chosen == row.response_a else 1 - row.probability)


def margin_of(row: Any) -> float:
    """How much better the chosen response is: the logit of its probability, between 0 and 4.6."""
    probability = min(max(probability_of(row), 0.5), _MOST_CERTAIN)
    return math.log(probability / (1 - probability))


def karma_column(row: Any) -> Row:
    """All values of a preference; signs and probabilities are from the chosen response's side."""
    a_is_chosen = row.chosen == row.response_a
    return {
        "stream": row.stream,
        "prompt_id": row.prompt_id,
        "skill": row.skill,
        "pair": row.id,
        "chosen_response": row.chosen,
        "rejected_response": row.rejected,
        "chosen_model": row.chosen_model,
        "rejected_model": row.rejected_model,
        "probability": probability_of(row),
        "tie_probability": row.predicted_tie if row.label_source == "predicted" else None,
        "flipped": None if row.flipped is None else bool(row.flipped),
        "label_source": row.label_source,
        "policy": row.policy,
        "kinship": row.kinship,
        "competency_gap": None if row.gap is None else (row.gap if a_is_chosen else -row.gap),
        "competency_gap_deviation": row.gap_deviation,
        "information": row.information,
        "likeness": row.likeness,
        "novelty": row.novelty,
        "judged_probability": row.judged_probability,
        "snapshot": row.snapshot,
        **provenance_of(row),
        "chosen_finish_reason": row.chosen_finish_reason,
        "rejected_finish_reason": row.rejected_finish_reason,
        "chosen_has_reasoning": bool(row.chosen_has_reasoning),
        "rejected_has_reasoning": bool(row.rejected_has_reasoning),
        "metadata": row.metadata,
    }


def provenance_of(row: Any) -> Row:
    """Columns computed from a row as an exporter gets it (`karma.plugins.protocols.Exporter`). Unknown values are None.

    - `length_ratio`: characters of the chosen response / characters of the rejected response.
    - `agrees_with_competency`: whether the winner is the model that competency favored when the pair was formed.
    - `judge_agreement`: share of pairs of judges that take the same side; None if fewer than two judges take a side.
    - `judges_valid`, `judges_asked`: numbers of judges with a valid verdict, and of all judges asked; no people.
    - `tokens`: input and output tokens of the two responses and the verdicts.
    - `cost`: of these calls, USD.
    """
    tokens: int | None = 0
    cost: float | None = 0
    for name, usage, stored in _calls(row):
        count, dollars = usage.total, money(row.prices.get(name), stored, usage)
        tokens = None if tokens is None or count is None else tokens + count
        cost = None if cost is None or dollars is None else cost + dollars
    asked = [verdict for verdict in row.verdicts if verdict.template_hash != HUMAN]
    given = opinions(asked, row.tie_margin)
    return {
        "length_ratio": len(row.chosen_text) / max(1, len(row.rejected_text)),
        "agrees_with_competency": agrees_with_competency(_win_probability(row.reasons), row.chosen == row.response_a),
        "judge_agreement": agreement(given),
        "judges_valid": len(given),
        "judges_asked": len({verdict.judge for verdict in asked}),
        "tokens": tokens,
        "cost": cost,
    }


class _Reasons(msgspec.Struct):
    """What is read of the reasons of a pair; the rest is passed over."""

    win_probability: float | None = None


_reasons = msgspec.json.Decoder(_Reasons)


def _win_probability(reasons: str) -> float | None:
    try:
        return _reasons.decode(reasons).win_probability
    except msgspec.DecodeError:
        found: float | None = json.loads(reasons).get("win_probability")
        return found


def _calls(row: Any) -> Iterator[tuple[str, Usage, float | None]]:
    """The calls behind a preference: model or judge, tokens, stored money."""
    chosen = Usage(row.chosen_tokens_in, row.chosen_tokens_out, row.chosen_tokens_cached)
    yield row.chosen_model, chosen, row.chosen_cost_usd
    rejected = Usage(row.rejected_tokens_in, row.rejected_tokens_out, row.rejected_tokens_cached)
    yield row.rejected_model, rejected, row.rejected_cost_usd
    for verdict in row.verdicts:
        if verdict.template_hash == HUMAN:
            continue
        yield verdict.judge, Usage(verdict.tokens_in, verdict.tokens_out), verdict.cost_usd
