"""What generation decides: every item of a batch is answered exactly once, by a text or by a reason."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from karma.messages import Answer, GenerateBatch, GenerateItem, ModelSpec, ScoreBatch

log = logging.getLogger(__name__)

#: Asks a model; answers may come in groups and in any order.
Ask = Callable[[ModelSpec, Sequence[GenerateItem]], Iterator[Sequence[Answer]]]


def generate(batch: GenerateBatch, ask: Ask) -> Iterator[ScoreBatch]:
    """The answers to a batch, in parts as they come.

    An item that `ask` forgets, or does not reach because it raises, ends as a failure with its reason; a second answer
    to an item and an answer to none of the items are dropped.
    """
    waiting = {item.item: item for item in batch.items}
    part = 0
    reason = "the model gave no answer"
    try:
        for answers in ask(batch.model, batch.items):
            fresh = []
            for answer in answers:
                if waiting.pop(answer.item, None) is not None:
                    fresh.append(answer)
            if fresh:
                yield ScoreBatch(header=replace(batch.header, part=part), items=tuple(fresh))
                part += 1
    except Exception as cause:
        log.exception("batch %s: the backend of %s failed", batch.header.batch, batch.model.name)
        reason = f"the backend failed: {type(cause).__name__}"
    if waiting:
        failed = tuple(
            Answer(item=item.item, prompt=item.prompt, model=batch.model.name, sample=item.sample, failure=reason)
            for item in waiting.values()
        )
        yield ScoreBatch(header=replace(batch.header, part=part), items=failed)
