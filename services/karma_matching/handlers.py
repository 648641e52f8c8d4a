"""Matching's handler: pairs responses, records the reasons, and opens the judgements."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from karma.config.derived_streams import CANARIES, REJUDGE, derivation
from karma.config.goals import chosen_by_goal
from karma.config.settings import StreamSettings
from karma.errors import KarmaError, SettingsError
from karma.messages import JudgeSpec, MatchBatch
from karma.messages.results import reason_of
from karma.policies.candidates import Candidate
from karma.ranking.snapshot import Snapshot
from karma.seeds import seed_of
from karma.store import Transaction
from karma.store.records import BatchLimits, NewPair, NewResolution, PromptRow, ResponseRow, Work
from karma.store.stored_pairs import stored_pairs
from karma.store.work import WorkList
from karma_matching.budget.allocation import Decision
from karma_matching.budget.decisions import JudgeBudget, Prediction
from karma_matching.judges import Judging, judging_planner
from karma_matching.novelty import Novelty
from karma_matching.pairing import FormedPair, form, form_again, form_canary
from karma_matching.stored_json import contents, features_of, reasons_json

log = logging.getLogger(__name__)

#: Reasons of a pair that have a column of their own.
_COLUMNS = ("policy", "kinship", "gap", "gap_deviation", "information", "likeness")


@dataclass(frozen=True)
class Formed:
    """A formed pair with its prompt. Without a judge budget there is no decision, and the pair is judged."""

    prompt: PromptRow
    pair: FormedPair
    novelty: float  # of the prompt
    decision: Decision | None = None
    prediction: Prediction | None = None

    @property
    def judged(self) -> bool:
        """Whether the pair is judged."""
        return self.decision is None or self.decision.judged


class PolicyFailedError(Exception):
    """A policy raised on one prompt; the text is the reason."""


@dataclass(frozen=True)
class Matched:
    """The result of matching a batch; empty for a duplicate batch."""

    pairs: list[Formed]
    unpaired: dict[int, str]  # prompt → why it has no pair
    predicted: list[NewResolution]  # predicted labels of prompts without a judged pair


def match(
    batch: MatchBatch,
    transaction: Transaction,
    stream: StreamSettings,
    judges: Sequence[JudgeSpec],
    snapshot: Snapshot,
    limits: BatchLimits,
    novelty: Novelty,
) -> Matched:
    """Form the pairs of prompts whose responses are complete, and open their judgements.

    The prompts' rows are locked first, and each prompt leaves the state `answered` once: a duplicate batch has no open
    item and forms no pair.
    """
    ledger, preferences = transaction.ledger, transaction.preferences
    prompts = ledger.lock_prompts(item.prompt for item in batch.items)
    items = transaction.work.items(item.item for item in batch.items)
    ready = {
        item.prompt: prompts[item.prompt]
        for item in items.values()
        if item.stage == "match" and item.prompt in prompts and prompts[item.prompt].state == "answered"
    }
    responses = preferences.responses_of(ready)
    name = batch.header.stream
    pairs_of = _pairing(name, ready, stream, judges, snapshot, transaction)
    budget = JudgeBudget.lock(name, transaction, stream, judges, snapshot) if stream.has_judge_budget else None
    chats = ledger.messages_of(ready) if budget else {}
    new = novelty.of(ledger, name, ready)
    formed: list[Formed] = []
    unpaired: dict[int, str] = {}
    broken: dict[int, str] = {}  # prompts on which the policy raised
    for id_, prompt in sorted(ready.items()):
        candidates = _candidates(responses.get(id_, []))
        try:
            pairs, reason = pairs_of(candidates, prompt)
        except PolicyFailedError as cause:
            broken[id_] = str(cause)
            continue
        if not pairs:
            unpaired[id_] = reason
        elif budget is None:
            formed.extend(Formed(prompt, pair, new[id_]) for pair in pairs)
        else:
            seed = seed_of(prompt.stream, prompt.prompt_id, "gate")
            decided = budget.decide(candidates, pairs, "\n".join(contents(chats[id_])), prompt.skill, seed, ledger.now)
            formed.extend(Formed(prompt, pair, new[id_], *both) for pair, both in zip(pairs, decided, strict=True))
    transaction.work.close(
        item.id
        for item in items.values()
        if item.stage == "match" and item.prompt in ready and item.prompt not in broken
    )
    for id_, reason in broken.items():
        ledger.dead_letter(id_, reason)
    sides = {row.id: (row.model, row.sample) for rows in responses.values() for row in rows}
    plan_of = judging_planner(stream, judges, snapshot)
    plans = [plan_of((name, each.prompt.prompt_id, *sides[each.pair.a], *sides[each.pair.b])) for each in formed]
    if budget:
        budget.charge(sum(plan.more_calls for pair, plan in zip(formed, plans, strict=True) if pair.judged), ledger.now)
        budget.keep(transaction)
    by_goal = {"goal": stream.goal, "by_goal": chosen_by_goal(stream.goal, stream)}
    planned = zip(formed, plans, strict=True)
    ids = preferences.add_pairs([_pair(pair, plan, snapshot.version, by_goal) for pair, plan in planned])
    judged = [(pair, plan, id_) for pair, plan, id_ in zip(formed, plans, ids, strict=True) if pair.judged]
    awaited = Counter(pair.prompt.id for pair, *_ in judged)
    ledger.move(list(awaited), "matched", awaited)
    # If no pair of a prompt is judged, no verdict can improve its predictions: its labels are final.
    predicted = [
        NewResolution.of_prediction(id_, pair.prompt.id, pair.pair.a, pair.pair.b, pair.prediction.win)
        for pair, id_ in zip(formed, ids, strict=True)
        if pair.prompt.id not in awaited and pair.prediction is not None
    ]
    preferences.add_resolutions(predicted)
    ledger.end(sorted({label.prompt for label in predicted}))
    ledger.end(list(unpaired), unpaired)
    sizes = {row.id: len(row.text or "") for rows in responses.values() for row in rows}
    _open_judgements(transaction.work, name, judges, judged, sizes, limits)
    return Matched(formed, unpaired, predicted)


def _open_judgements(
    work: WorkList,
    stream: str,
    judges: Sequence[JudgeSpec],
    judged: Sequence[tuple[Formed, Judging, int]],
    sizes: Mapping[int, int],
    limits: BatchLimits,
) -> None:
    """Open the judgements of pairs, with their plans and ids; `sizes` has the lengths of the responses' texts."""
    asked: dict[tuple[int, str], list[Work]] = defaultdict(list)
    for formed, plan, id_ in judged:
        pair, prompt = formed.pair, formed.prompt
        size = sizes[pair.a] + sizes[pair.b]
        for judge_name, shown in plan.judgements:
            asked[prompt.priority, judge_name].append(Work(prompt.id, pair=id_, shown=shown, size=size))
    for priority in sorted({priority for priority, _judge in asked}, reverse=True):
        for judge in judges:
            work.open("judge", judge.name, stream, priority, asked[priority, judge.name], limits)


def _pairing(
    name: str,
    ready: Mapping[int, PromptRow],
    stream: StreamSettings,
    judges: Sequence[JudgeSpec],
    snapshot: Snapshot,
    transaction: Transaction,
) -> Callable[[Sequence[Candidate], PromptRow], tuple[list[FormedPair], str]]:
    """What pairs the responses to a prompt of a stream: its policy, or in a rejudged stream the pairs of its base.

    Raises:
        SettingsError: a judge of a rejudged stream is not in the pool.
    """
    derived = derivation(name)
    if derived is not None and derived.policy == CANARIES:
        return lambda candidates, prompt: form_canary(candidates, snapshot, prompt.skill)
    if derived is None or not derived.judges:
        return lambda candidates, prompt: _formed(candidates, prompt, stream, snapshot)
    if missing := sorted(set(derived.judges) - {judge.name for judge in judges}):
        raise SettingsError(
            f"the stream {name} has its pairs judged by {', '.join(missing)}, which the pool file of this worker does "
            "not name. Add it again, restart the workers, and run karma requeue dead."
        )
    base, prompt_ids = derived.base, [prompt.prompt_id for prompt in ready.values()]
    stored = stored_pairs(transaction.ledger.connection, base, prompt_ids)
    return lambda candidates, prompt: form_again(candidates, stored[prompt.prompt_id], base, snapshot, prompt.skill)


def _formed(
    candidates: Sequence[Candidate], prompt: PromptRow, stream: StreamSettings, snapshot: Snapshot
) -> tuple[list[FormedPair], str]:
    """The pairs of a prompt, or the reason why it has none.

    Raises:
        PolicyFailedError: the policy raised on this prompt, which must not affect other prompts.
    """
    seed = seed_of(prompt.stream, prompt.prompt_id, "match")
    limits = stream.pairs_per_prompt, stream.max_length_ratio
    try:
        return form(candidates, stream.policy, limits[0], snapshot, prompt.skill, seed, stream.target, limits[1])
    except (KarmaError, MemoryError):  # of every prompt, or of this moment
        raise
    except Exception as cause:
        log.exception("the policy %s failed on the prompt %d", stream.policy, prompt.id)
        raise PolicyFailedError(reason_of(cause, f"the policy {stream.policy} failed")) from cause


def _candidates(rows: Sequence[ResponseRow]) -> list[Candidate]:
    return [
        Candidate(row.id, row.model, row.sample, row.text, row.quality, features_of(row.id, row.features))
        for row in rows
        if row.text is not None and row.failure is None
    ]


def _pair(formed: Formed, plan: Judging, version: int, by_goal: Mapping[str, Any]) -> NewPair:
    reasons: dict[str, Any] = dict(formed.pair.reasons)
    decision, prediction = formed.decision, formed.prediction
    if reasons["policy"] not in (REJUDGE, CANARIES):  # given pairs: the goal chose nothing of them
        reasons |= by_goal
    if formed.pair.canary is not None:
        reasons["canary"] = formed.pair.canary
    if decision is not None and prediction is not None:
        reasons |= {"gate": decision.why, "gate_information": round(decision.information, 4)}
        reasons |= {"contrast": prediction.relative_features, **prediction.signs}
        if decision.sure is not None:
            reasons["sure"] = decision.sure
    for key, planned in (("orders", plan.orders), ("judges", plan.judges)):
        if planned is not None and formed.judged:
            reasons[key] = planned.to_dict()
    return NewPair(
        prompt=formed.prompt.id,
        response_a=formed.pair.a,
        response_b=formed.pair.b,
        reasons=reasons_json(reasons),
        **{name: reasons[name] for name in _COLUMNS},
        novelty=formed.novelty,
        judged_probability=decision.probability if decision else 1.0,
        snapshot=version,
        awaited=len(plan.judgements) if formed.judged else 0,
        judged=int(formed.judged),
        predicted=prediction.win if prediction else None,
        predicted_tie=prediction.tie if prediction else None,
    )
