"""Draws canaries: the prompts that end bring some, in the transaction in which they end.

So a prompt that ends has its canary or none, whatever is killed or delivered again, and the draw depends on the
prompt's name alone. A canary is a prompt of the derived stream, under the same id.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence

from karma.config.canaries import ATTACKED, RIGHT, WRONG
from karma.config.derived_streams import canaries_of, derivation
from karma.seeds import seed_of
from karma.store import Transaction
from karma.store.records import NewPrompt, PromptRow, ResponseRow
from karma.store.streams import recorded_goals
from karma_scoring.canaries.attacks import ATTACKS
from karma_scoring.canaries.questions import QUESTIONS

#: Seeds are below this.
_SEEDS = 2.0**63
#: Share of the canaries that have an attack inside.
_ATTACKED_SHARE = 0.5
#: The model that a built-in question's responses are said to be of.
_BUILT_IN = "canary"


def draw_canaries(transaction: Transaction, stream: str, ended: Sequence[PromptRow], share: float) -> int:
    """Add the canaries that a stream's ended prompts bring; returns how many. A derived stream brings none.

    Args:
        transaction: which holds the prompts' rows.
        stream: theirs.
        ended: all or some of those that end in the transaction.
        share: of the prompts that bring one.
    """
    if not share:
        return 0
    drawn = [prompt for prompt in ended if seed_of(stream, prompt.prompt_id, "canary") < share * _SEEDS]
    if not drawn or derivation(stream) is not None:
        return 0
    ids = [prompt.id for prompt in drawn]
    messages, responses = transaction.ledger.messages_of(ids), transaction.preferences.responses_of(ids)
    new = [_canary(prompt, messages[prompt.id], responses.get(prompt.id, [])) for prompt in drawn]
    goal = recorded_goals(transaction.ledger.connection, [stream]).get(stream)
    return transaction.ledger.accept(canaries_of(stream), new, goal).count("accepted")


def _canary(prompt: PromptRow, messages: str, responses: Sequence[ResponseRow]) -> NewPrompt:
    rng = random.Random(f"canary {prompt.stream} {prompt.prompt_id}")  # noqa: S311 - a reproducible draw, no secret
    reference, own = prompt.reference, _own(responses, rng)
    if own is None:  # a built-in question has no reference: the stream's checker might be unable to read it
        question, reference = rng.choice(QUESTIONS), None
        messages = json.dumps([{"role": "user", "content": question.prompt}], ensure_ascii=False)
        own = (_BUILT_IN, question.right), (_BUILT_IN, question.wrong)
    (right_model, right), (wrong_model, wrong) = own
    is_attacked = rng.random() < _ATTACKED_SHARE
    if is_attacked:
        wrong = rng.choice(ATTACKS).replace("WRONG", wrong)
    given = [[right_model, RIGHT, right], [wrong_model, ATTACKED if is_attacked else WRONG, wrong]]
    rng.shuffle(given)  # a judge that is asked one order sees the right response in either place
    text = json.dumps(given, ensure_ascii=False)
    return NewPrompt(
        prompt_id=prompt.prompt_id,
        content_hash=hashlib.sha256(f"{messages}\x1f{text}".encode("utf-8", "surrogatepass")).hexdigest(),
        messages=messages,
        skill=prompt.skill,
        reference=reference,
        given=text,
        priority=prompt.priority,
    )


def _own(responses: Sequence[ResponseRow], rng: random.Random) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """A right and a wrong response of the prompt's own, each with its model; None without both."""
    by_quality: Mapping[float, list[tuple[str, str]]] = {1.0: [], 0.0: []}
    for row in responses:
        if row.text is not None and row.text.strip() and row.quality is not None and row.quality in by_quality:
            by_quality[row.quality].append((row.model, row.text))
    if not all(by_quality.values()):
        return None
    return rng.choice(by_quality[1.0]), rng.choice(by_quality[0.0])
