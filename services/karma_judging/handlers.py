"""What judging decides: every item of a batch gets exactly one verdict, a probability or a reason."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from karma.messages import JudgeBatch, JudgeItem, JudgeSpec, LearnBatch, Verdict

log = logging.getLogger(__name__)

#: Asks a judge; verdicts may come in groups and in any order.
Ask = Callable[[JudgeSpec, Sequence[JudgeItem]], Iterator[Sequence[Verdict]]]


def judge(batch: JudgeBatch, ask: Ask) -> Iterator[LearnBatch]:
    """The verdicts on a batch, in parts as they come.

    An item that `ask` forgets, or does not reach because it raises, ends as a failure with its reason, and so does a
    probability that is none; a second verdict on an item and a verdict on none of the items are dropped.
    """
    waiting = {item.item: item for item in batch.items}
    part = 0
    reason = "the judge gave no verdict"
    try:
        for verdicts in ask(batch.judge, batch.items):
            fresh = []
            for verdict in verdicts:
                if waiting.pop(verdict.item, None) is not None:
                    fresh.append(_sound(verdict))
            if fresh:
                yield LearnBatch(header=replace(batch.header, part=part), items=tuple(fresh))
                part += 1
    except Exception as cause:
        log.exception("batch %s: the judge %s failed", batch.header.batch, batch.judge.name)
        reason = f"the judge failed: {type(cause).__name__}"
    if waiting:
        failed = tuple(
            Verdict(
                item=item.item,
                pair=item.pair,
                prompt=item.prompt,
                judge=batch.judge.name,
                order=item.order,
                failure=reason,
            )
            for item in waiting.values()
        )
        yield LearnBatch(header=replace(batch.header, part=part), items=failed)


def _sound(verdict: Verdict) -> Verdict:
    """The verdict, or a failure where its probability is not in [0, 1] (NaN is not)."""
    if verdict.probability is None or 0.0 <= verdict.probability <= 1.0:
        return verdict
    return replace(verdict, probability=None, failure=f"the probability {verdict.probability} is not in [0, 1]")
