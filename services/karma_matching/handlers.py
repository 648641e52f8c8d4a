"""What matching decides: which answers are paired, why, and who judges them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from karma.messages import JudgeSpec, MatchBatch
from karma.pool import StreamSettings
from karma.seeds import seed_of
from karma.snapshot import Snapshot
from karma.store import Transaction
from karma.store.records import BatchLimits, NewPair, PromptRow, ResponseRow, Work
from karma_matching.policies import FormedPair, form
from karma_matching.pool import Candidate


@dataclass(frozen=True)
class Formed:
    """A pair that was formed and the prompt it is for."""

    prompt: PromptRow
    pair: FormedPair


def match(
    batch: MatchBatch,
    transaction: Transaction,
    stream: StreamSettings,
    judges: Sequence[JudgeSpec],
    snapshot: Snapshot,
    limits: BatchLimits,
) -> list[Formed]:
    """Form the pairs of prompts whose answers are in, and open their judgements.

    The prompt's move away from `answered` is won first (its row is locked): a batch that comes again finds no open
    item and chooses nothing anew.
    """
    ledger, preferences = transaction.ledger, transaction.preferences
    prompts = ledger.lock_prompts(item.prompt for item in batch.items)
    items = transaction.work.items(item.item for item in batch.items)
    ready = {
        item.prompt: prompts[item.prompt]
        for item in items.values()
        if item.stage == "match" and item.prompt in prompts and prompts[item.prompt].state == "answered"
    }
    transaction.work.close(item.id for item in items.values() if item.stage == "match" and item.prompt in ready)
    responses = preferences.responses_of(ready)
    formed: list[Formed] = []
    unpaired: dict[int, str] = {}
    for id_, prompt in sorted(ready.items()):
        pairs, reason = form(
            _candidates(responses.get(id_, [])),
            stream.policy,
            stream.pairs_per_prompt,
            snapshot,
            prompt.skill,
            seed_of(prompt.stream, prompt.prompt_id, "match"),
            stream.target,
        )
        formed.extend(Formed(prompt, pair) for pair in pairs)
        if not pairs:
            unpaired[id_] = reason
    ids = preferences.add_pairs([_pair(one, judges, snapshot.version) for one in formed])
    counts: dict[int, int] = {}
    for one in formed:
        counts[one.prompt.id] = counts.get(one.prompt.id, 0) + 1
    ledger.move(list(counts), "matched", counts)
    ledger.end(list(unpaired), unpaired)
    texts = {row.id: row.text or "" for rows in responses.values() for row in rows}
    for priority in sorted({one.prompt.priority for one in formed}, reverse=True):
        for judge in judges:
            work = [
                Work(one.prompt.id, pair=pair, shown=shown, size=len(texts[one.pair.a]) + len(texts[one.pair.b]))
                for one, pair in zip(formed, ids, strict=True)
                if one.prompt.priority == priority
                for shown in orders_of(judge)
            ]
            transaction.work.open("judge", judge.name, batch.header.stream, priority, work, limits)
    return formed


def orders_of(judge: JudgeSpec) -> tuple[int, ...]:
    """The orders in which a judge is shown a pair: both, where the order can make a difference."""
    return (0, 1) if judge.both_orders else (0,)


def _candidates(rows: Sequence[ResponseRow]) -> list[Candidate]:
    return [
        Candidate(row.id, row.model, row.sample, row.text, row.quality, _features(row.features))
        for row in rows
        if row.text is not None and row.failure is None
    ]


def _features(text: str | None) -> Mapping[str, float]:
    return json.loads(text) if text else {}


def _pair(one: Formed, judges: Sequence[JudgeSpec], version: int) -> NewPair:
    reasons = one.pair.reasons
    return NewPair(
        prompt=one.prompt.id,
        response_a=one.pair.a,
        response_b=one.pair.b,
        policy=str(reasons["policy"]),
        reasons=json.dumps(dict(reasons)),
        kinship=_number(reasons.get("kinship")),
        gap=_number(reasons.get("gap")),
        gap_deviation=_number(reasons.get("gap_deviation")),
        information=_number(reasons.get("information")),
        likeness=_number(reasons.get("likeness")),
        judged_probability=1.0,  # without a budget everything is judged
        snapshot=version,
        awaited=sum(len(orders_of(judge)) for judge in judges),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
