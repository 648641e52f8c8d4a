"""Judging's handler: every item of a batch gets exactly one verdict, a probability or a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from karma.messages import JudgeBatch, JudgeItem, JudgeSpec, LearnBatch, Verdict
from karma.messages.results import REASON_CHARACTERS, one_result_per_item, storable
from karma_judging.verdicts import verdict

#: Calls a judge; yields verdicts in groups, in any order.
Ask = Callable[[JudgeSpec, Sequence[JudgeItem]], Iterator[Sequence[Verdict]]]


def judge(batch: JudgeBatch, spec: JudgeSpec, ask: Ask) -> Iterator[LearnBatch]:
    """The verdicts of a judge on a batch, in parts as they arrive.

    An item without a verdict, also because `ask` raised, fails with the reason; so does an invalid probability. Second
    verdicts on an item, and verdicts on other items, are dropped.
    """

    def settle(item: JudgeItem, given: Verdict) -> Verdict:
        """The verdict with its item's own ids, and with either a probability or a failure."""
        failure = _fault(item, given)
        return replace(
            given,
            pair=item.pair,
            prompt=item.prompt,
            judge=spec.name,
            order=item.order,
            probability=given.probability if failure is None else None,
            failure=None if failure is None else storable(failure)[:REASON_CHARACTERS],
            rationale=None if given.rationale is None else storable(given.rationale),
        )

    def fail(item: JudgeItem, reason: str) -> Verdict:
        return verdict(spec, item, failure=reason)

    groups = one_result_per_item(
        batch.items,
        lambda: ask(spec, batch.items),
        settle,
        fail,
        f"the judge {spec.name}",
        ask_alone=lambda item: ask(spec, [item]),
    )
    for part, verdicts in enumerate(groups):
        yield LearnBatch(header=replace(batch.header, part=part), items=verdicts)


def _fault(item: JudgeItem, given: Verdict) -> str | None:
    """Why a verdict is invalid; None if it is valid. NaN is not in [0, 1]."""
    if given.failure is not None:
        return given.failure
    if (given.pair, given.order) != (item.pair, item.order):
        return f"the verdict is on pair {given.pair} in order {given.order}, not on what was asked"
    if given.probability is None:
        return "neither a probability nor a reason was returned"
    if not 0.0 <= given.probability <= 1.0:
        return f"the probability {given.probability} is not in [0, 1]"
    return None
