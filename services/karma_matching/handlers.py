"""What matching decides: which answers are paired, why, and who judges them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from karma.config.settings import StreamSettings
from karma.messages import JudgeSpec, MatchBatch
from karma.policies.candidates import Candidate
from karma.policies.matching import FormedPair, form
from karma.ranking.snapshot import Snapshot
from karma.seeds import seed_of
from karma.store import Transaction
from karma.store.records import BatchLimits, NewPair, NewResolution, PromptRow, ResponseRow, Work
from karma_matching.budget.decisions import Spending, Spent
from karma_matching.novelty import Novelty


@dataclass(frozen=True)
class Formed:
    """A pair that was formed and the prompt it is for."""

    prompt: PromptRow
    pair: FormedPair
    novelty: float  # of the prompt
    spent: Spent | None = None  # None where no budget limits what is judged

    @property
    def judged(self) -> bool:
        """Whether a judge is asked."""
        return self.spent is None or self.spent.decision.judged


def match(
    batch: MatchBatch,
    transaction: Transaction,
    stream: StreamSettings,
    judges: Sequence[JudgeSpec],
    snapshot: Snapshot,
    limits: BatchLimits,
    novelty: Novelty,
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
    spending = Spending.begin(batch.header.stream, transaction, stream, judges, snapshot) if stream.gated else None
    asked = ledger.messages_of(ready) if spending else {}
    new = novelty.of(ledger, batch.header.stream, ready)
    formed: list[Formed] = []
    unpaired: dict[int, str] = {}
    for id_, prompt in sorted(ready.items()):
        candidates = _candidates(responses.get(id_, []))
        pairs, reason = form(
            candidates,
            stream.policy,
            stream.pairs_per_prompt,
            snapshot,
            prompt.skill,
            seed_of(prompt.stream, prompt.prompt_id, "match"),
            stream.target,
        )
        if spending and pairs:
            spent = spending.decide(
                candidates,
                pairs,
                _text(asked[id_]),
                prompt.skill,
                seed_of(prompt.stream, prompt.prompt_id, "gate"),
                ledger.now,
            )
            formed.extend(Formed(prompt, pair, new[id_], one) for pair, one in zip(pairs, spent, strict=True))
        else:
            formed.extend(Formed(prompt, pair, new[id_]) for pair in pairs)
        if not pairs:
            unpaired[id_] = reason
    if spending:
        spending.keep(transaction)
    ids = preferences.add_pairs([_pair(one, judges, snapshot.version) for one in formed])
    judged = [(one, pair) for one, pair in zip(formed, ids, strict=True) if one.judged]
    awaited = Counter(one.prompt.id for one, _ in judged)
    ledger.move(list(awaited), "matched", awaited)
    # Where no judge is asked about any of a prompt's pairs, no verdict can come that would tell more about the others.
    alone = [(one, pair) for one, pair in zip(formed, ids, strict=True) if one.prompt.id not in awaited]
    preferences.add_resolutions([_predicted(one, pair) for one, pair in alone])
    ledger.end(sorted({one.prompt.id for one, _ in alone}))
    ledger.end(list(unpaired), unpaired)
    texts = {row.id: row.text or "" for rows in responses.values() for row in rows}
    for priority in sorted({one.prompt.priority for one, _ in judged}, reverse=True):
        for judge in judges:
            work = [
                Work(one.prompt.id, pair=pair, shown=shown, size=len(texts[one.pair.a]) + len(texts[one.pair.b]))
                for one, pair in judged
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


def _text(messages: str) -> str:
    """What a chat says, without its roles."""
    return "\n".join(turn["content"] for turn in json.loads(messages))


def _predicted(one: Formed, pair: int) -> NewResolution:
    """The label of a pair that no judge is asked about, where nothing more will be known."""
    if one.spent is None:
        raise ValueError("a pair without a gate is judged")
    return NewResolution.of_prediction(pair, one.prompt.id, one.pair.a, one.pair.b, one.spent.predicted)


def _pair(one: Formed, judges: Sequence[JudgeSpec], version: int) -> NewPair:
    reasons: dict[str, object] = {**one.pair.reasons, **(one.spent.reasons() if one.spent else {})}
    return NewPair(
        prompt=one.prompt.id,
        response_a=one.pair.a,
        response_b=one.pair.b,
        policy=str(reasons["policy"]),
        reasons=json.dumps(reasons),
        kinship=_number(reasons.get("kinship")),
        gap=_number(reasons.get("gap")),
        gap_deviation=_number(reasons.get("gap_deviation")),
        information=_number(reasons.get("information")),
        likeness=_number(reasons.get("likeness")),
        novelty=one.novelty,
        judged_probability=one.spent.decision.probability if one.spent else 1.0,
        snapshot=version,
        awaited=sum(len(orders_of(judge)) for judge in judges) if one.judged else 0,
        judged=int(one.judged),
        predicted=one.spent.predicted if one.spent else None,
        predicted_tie=one.spent.predicted_tie if one.spent else None,
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
