"""Scoring's decisions: which results are recorded, how pairs are resolved, and what counts for competencies."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from karma.config.derived_streams import teaches
from karma.config.pricing import Kind, Priced, Usage
from karma.errors import UnreadableReferenceError
from karma.messages import Answer, LearnBatch, ScoreBatch, Verdict
from karma.messages.results import storable
from karma.ranking.outcome_model import OutcomeModel
from karma.store import Transaction
from karma.store.cascade_quality import deciding
from karma.store.records import (
    BatchLimits,
    NewResolution,
    NewResponse,
    NewVerdict,
    OpenItem,
    PairRecord,
    PromptRow,
    Work,
)
from karma.verdicts import TIE_MARGIN, Weighs, resolve
from karma_scoring.competency_counts import by_judges, count_of, jury_of
from karma_scoring.features import features
from karma_scoring.larger_judges import open_larger_judges
from karma_scoring.predicted_labels import predict_labels
from karma_scoring.resolved_pairs import Resolved, record_of, resolution_of
from karma_scoring.second_orders import open_second_orders

log = logging.getLogger(__name__)

#: (text, reference) → quality in [0, 1]; None if it is unknown.
Check = Callable[[str, str], float | None]

#: Whether it is of a model or a judge, its name, its tokens → what the call cost.
Price = Callable[[Kind, str, Usage], Priced]

#: Adds the canaries that the ended prompts of a stream bring, in the transaction in which they end.
DrawCanaries = Callable[[Transaction, str, Sequence[PromptRow]], None]

Result = TypeVar("Result", Answer, Verdict)


@dataclass(frozen=True)
class Learned:
    """The rows that a batch of verdicts added, and the stream that they belong to."""

    stream: str = ""
    verdicts: Sequence[NewVerdict] = ()
    pairs: Sequence[PairRecord] = ()  # resolved by verdicts
    predicted: int = 0  # pairs labeled by the prediction
    ended: int = 0  # prompts


def unknown_price(_kind: Kind, _name: str, _usage: Usage) -> Priced:
    """No call has a price."""
    return Priced()


def score(
    batch: ScoreBatch,
    transaction: Transaction,
    check_of: Callable[[str], Check | None],
    limits: BatchLimits,
    sender: str = "",
    price: Price = unknown_price,
) -> tuple[str, list[NewResponse]]:
    """Record responses; prompts with all their responses go on to matching. Returns the stream and what was recorded.

    A response is recorded only while its item is open, whichever worker sends it. A second one changes nothing. A
    prompt whose reference cannot be read ends as `dead`. Stream and priority are the ledger's, whatever the message
    says; `check_of` is the check of a stream. A `sender` is the model whose worker signed the results: it answers what
    it was asked, and brings no given responses. `price` says what a call cost, which is stored with its response.
    """
    stages = ("generate",) if sender else ("generate", "score")
    prompts, items = _open_items(batch.items, transaction, stages, "dispatched")
    fresh = {answer.item: answer for answer in batch.items if _answers(answer, items.get(answer.item))}
    stream, fresh = _of_one_stream(fresh, prompts)
    check = check_of(stream) if fresh else None
    responses, unreadable = {}, {}
    for answer in fresh.values():
        try:
            responses[answer.item] = _response(answer, prompts[answer.prompt], check, price)
        except UnreadableReferenceError as cause:
            unreadable[answer.prompt] = str(cause)
    for id_, reason in unreadable.items():
        log.warning("prompt %s ends as dead: its stream's checker cannot read its reference", id_)
        transaction.ledger.dead_letter(id_, storable(reason))
    fresh = {item: answer for item, answer in fresh.items() if answer.prompt not in unreadable}
    if not fresh:
        return stream, []
    new = [responses[item] for item in fresh]
    transaction.preferences.add_responses(new, stream)
    transaction.work.close(fresh)
    recorded = Counter(answer.prompt for answer in fresh.values())
    answered = transaction.ledger.lower_awaited(prompts, recorded, then="answered")
    for priority in sorted({prompts[id_].priority for id_ in answered}, reverse=True):
        work = [Work(id_) for id_ in answered if prompts[id_].priority == priority]
        transaction.work.open("match", "", stream, priority, work, limits)
    return stream, new


def _open_items(
    results: Sequence[Answer | Verdict], transaction: Transaction, stages: Collection[str], state: str
) -> tuple[dict[int, PromptRow], dict[int, OpenItem]]:
    """The locked prompts of the results, and the items that are open at these stages, of prompts in this state."""
    prompts = transaction.ledger.lock_prompts(result.prompt for result in results)
    items = transaction.work.items(result.item for result in results)
    in_state = {id_ for id_, prompt in prompts.items() if prompt.state == state}
    return prompts, {id_: item for id_, item in items.items() if item.stage in stages and item.prompt in in_state}


def _of_one_stream(fresh: Mapping[int, Result], prompts: Mapping[int, PromptRow]) -> tuple[str, dict[int, Result]]:
    """The stream of the first result by the ledger, and the results of it; a batch is of one stream."""
    stream = next((prompts[result.prompt].stream for result in fresh.values()), "")
    return stream, {item: result for item, result in fresh.items() if prompts[result.prompt].stream == stream}


def _answers(answer: Answer, item: OpenItem | None) -> bool:
    return (
        item is not None
        and item.prompt == answer.prompt
        and item.target == answer.model
        and item.sample == answer.sample
    )


def _judges(verdict: Verdict, item: OpenItem | None) -> bool:
    expected = (verdict.prompt, verdict.judge, verdict.pair, verdict.order)
    return item is not None and (item.prompt, item.target, item.pair, item.shown) == expected


def _priced(price: Price, kind: Kind, name: str, result: Answer | Verdict) -> Priced:
    return price(kind, name, Usage(result.tokens_in, result.tokens_out, result.tokens_cached, result.tokens_reasoning))


def _response(answer: Answer, prompt: PromptRow, check: Check | None, price: Price) -> NewResponse:
    text = answer.text if answer.failure is None else None
    failure = answer.failure
    if text is not None and not text.strip():
        text, failure = None, "empty answer"
    if text is None and failure is None:
        failure = "neither a text nor a reason was returned"
    quality = check(text, prompt.reference) if text is not None and prompt.reference is not None and check else None
    cost_usd, priced_by = _priced(price, "model", answer.model, answer)
    return NewResponse(
        prompt=answer.prompt,
        model=answer.model,
        sample=answer.sample,
        text=text,
        reasoning=answer.reasoning,
        failure=failure,
        finish_reason=answer.finish_reason,
        dropped=json.dumps(answer.dropped) if answer.dropped else None,
        features=_features(text, answer) if text is not None else None,
        quality=quality,
        tokens_in=answer.tokens_in,
        tokens_out=answer.tokens_out,
        tokens_cached=answer.tokens_cached,
        tokens_reasoning=answer.tokens_reasoning,
        cost_usd=cost_usd,
        priced_by=priced_by,
        latency_s=answer.latency_s,
    )


def _features(text: str, answer: Answer) -> str | None:
    """The features as JSON; None if they cannot be computed, which must not affect other responses."""
    try:
        return msgspec.json.encode(features(text)).decode()
    except Exception as cause:  # its text may quote the response
        log.warning("no features of one response by %s: %s", answer.model, type(cause).__name__)
        return None


def learn(
    batch: LearnBatch,
    transaction: Transaction,
    tie_margin_of: Callable[[str], float] = lambda _stream: TIE_MARGIN,
    outcome_model: Callable[[], OutcomeModel | None] = lambda: None,
    verifiers: Collection[str] = (),
    limits: BatchLimits | None = None,
    price: Price = unknown_price,
    draw_canaries: DrawCanaries | None = None,
    jury: Callable[[], Weighs | None] = lambda: None,
) -> Learned:
    """Record verdicts; pairs with all their verdicts are resolved and counted, and their prompts end.

    Their stream is the ledger's, whatever the message says; `tie_margin_of` is the tie margin of a stream. A prompt's
    unjudged pairs get their predicted labels with its last verdict. A pair whose valid verdicts are all by
    judges among `verifiers` counts as a probe. Second orders and larger judges that the verdicts call for are opened,
    in messages of at most `limits`. `price` says what a call cost, which is stored with its verdict. `draw_canaries`
    gets the prompts that end, before they do. `jury` is asked where a pair has several judges, or some that were drawn.
    """
    ledger, preferences = transaction.ledger, transaction.preferences
    prompts, items = _open_items(batch.items, transaction, ("judge",), "matched")
    fresh = {verdict.item: verdict for verdict in batch.items if _judges(verdict, items.get(verdict.item))}
    stream, fresh = _of_one_stream(fresh, prompts)
    if not fresh:
        return Learned(stream)
    new = [_verdict(verdict, price) for verdict in fresh.values()]
    preferences.add_verdicts(new, stream)
    transaction.work.close(fresh)
    pairs = preferences.pairs_of(verdict.pair for verdict in fresh.values())
    margin = tie_margin_of(stream)
    opened = open_second_orders(new, pairs, prompts, transaction, limits or BatchLimits())
    opened += open_larger_judges(new, pairs, prompts, transaction, limits or BatchLimits())
    complete = preferences.count_awaited(pairs, Counter(verdict.pair for verdict in fresh.values()), opened)
    verdicts = preferences.verdicts_of(pair.id for pair in complete)
    several = any(len({each.judge for each in given}) > 1 for given in verdicts.values())
    weighs = jury() if several or any(pair.judges is not None for pair in complete) else None
    resolved = [
        Resolved(pair, resolve(deciding(pair, verdicts[pair.id]), margin, jury_of(pair, weighs)), verdicts[pair.id])
        for pair in complete
    ]
    preferences.add_resolutions([resolution_of(each) for each in resolved])
    if teaches(stream):
        weights = preferences.prompt_weights(each.pair.prompt for each in resolved)
        preferences.add_counts(
            count_of(
                each.pair,
                each.verdicts,
                prompts[each.pair.prompt].skill,
                weights[each.pair.prompt],
                ledger.now,
                verifiers,
                margin,
                weighs,
                each.resolution,
            )
            for each in resolved
            if by_judges(each.verdicts) and each.pair.model_a != each.pair.model_b
        )
    ended = ledger.lower_awaited(prompts, Counter(each.pair.prompt for each in resolved))
    under_budget = {each.pair.prompt for each in resolved if each.pair.predicted is not None}.intersection(ended)
    predicted = _label(under_budget, transaction, outcome_model()) if under_budget else 0
    if draw_canaries:
        draw_canaries(transaction, stream, [prompts[id_] for id_ in ended])
    ledger.end(ended)
    return Learned(stream, new, [record_of(each, stream, ledger.now) for each in resolved], predicted, len(ended))


def _label(prompts: Iterable[int], transaction: Transaction, model: OutcomeModel | None) -> int:
    """Label the unjudged pairs of prompts, record predictions for audited pairs; returns the number of labels."""
    number = 0
    for pairs in transaction.judge_budgets.pairs_of(prompts).values():
        labels = predict_labels(pairs, model)
        new = [
            NewResolution.of_prediction(pair.id, pair.prompt, pair.response_a, pair.response_b, probability)
            for pair, probability in labels
            if not pair.judged
        ]
        transaction.preferences.add_resolutions(new)
        audited = [(pair.id, probability) for pair, probability in labels if pair.judged]
        transaction.judge_budgets.record_predictions(audited)
        number += len(new)
    return number


def _verdict(verdict: Verdict, price: Price) -> NewVerdict:
    probability, failure = verdict.probability, verdict.failure
    if probability is not None and not 0.0 <= probability <= 1.0:
        probability, failure = None, f"the probability {probability} is not in [0, 1]"
    if probability is None and failure is None:
        failure = "neither a probability nor a reason was returned"
    cost_usd, priced_by = _priced(price, "judge", verdict.judge, verdict)
    return NewVerdict(
        pair=verdict.pair,
        judge=verdict.judge,
        template_hash=verdict.template_hash,
        shown=verdict.order,
        probability=None if failure else probability,
        failure=failure,
        rationale=verdict.rationale,
        note=verdict.note,
        tokens_in=verdict.tokens_in,
        tokens_out=verdict.tokens_out,
        tokens_cached=verdict.tokens_cached,
        tokens_reasoning=verdict.tokens_reasoning,
        cost_usd=cost_usd,
        priced_by=priced_by,
        latency_s=verdict.latency_s,
    )
