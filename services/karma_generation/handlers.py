"""Generation's handler: every item of a batch gets exactly one answer, a text or a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from karma.llm.finish import finished
from karma.messages import Answer, GenerateBatch, GenerateItem, ModelSpec, ScoreBatch
from karma.messages.results import REASON_CHARACTERS, one_result_per_item, storable

_FINISH_CHARACTERS = 200

#: Calls a model; yields answers in groups, in any order.
Ask = Callable[[ModelSpec, Sequence[GenerateItem]], Iterator[Sequence[Answer]]]


def generate(batch: GenerateBatch, spec: ModelSpec, ask: Ask) -> Iterator[ScoreBatch]:
    """The answers of a model to a batch, in parts as they arrive.

    An item without an answer, also because `ask` raised, fails with the reason; so does an answer without text. Second
    answers to an item, and answers to other items, are dropped.
    """
    name = spec.name

    def settle(item: GenerateItem, answer: Answer) -> Answer:
        """The answer with its item's own ids, and with either a text or a failure.

        Its text is held against the model's policies whichever backend gave it, so a plug-in needs to know none.
        """
        finish = None if answer.finish_reason is None else storable(answer.finish_reason)[:_FINISH_CHARACTERS]
        own = replace(answer, prompt=item.prompt, model=name, sample=item.sample, finish_reason=finish)
        if answer.failure is not None:
            return replace(own, text=None, failure=storable(answer.failure)[:REASON_CHARACTERS])
        text = answer.text or ""
        if answer.reasoning is None:
            found = finished(spec, text, answer.finish_reason)
            return replace(own, text=found.text, failure=found.failure, reasoning=found.reasoning)
        # Its reasoning is already apart: what looks like more of it belongs to the answer.
        found = finished(spec, text, answer.finish_reason, separated=True)
        return replace(own, text=found.text, failure=found.failure, reasoning=storable(answer.reasoning) or None)

    def fail(item: GenerateItem, reason: str) -> Answer:
        return Answer(item=item.item, prompt=item.prompt, model=name, sample=item.sample, failure=reason)

    groups = one_result_per_item(
        batch.items,
        lambda: ask(spec, batch.items),
        settle,
        fail,
        f"the backend of {name}",
        ask_alone=lambda item: ask(spec, [item]),
    )
    for part, answers in enumerate(groups):
        yield ScoreBatch(header=replace(batch.header, part=part), items=answers)
