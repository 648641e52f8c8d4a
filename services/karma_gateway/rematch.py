"""Rematch: stored prompts with their stored responses, paired again by other policies, for comparison.

Each policy gets a stream of its own (`karma.config.derived_streams`), whose prompts bring the base's responses:
nothing is generated again and nothing of the base changes. The services treat it like any stream of prompts with
responses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from karma.config.derived_streams import Derivation
from karma.errors import KarmaError
from karma.plugins import policy_named
from karma.store import Store
from karma.store.answered_prompts import Given, answered_prompts
from karma.store.records import NewPrompt
from karma.store.streams import stream_names

#: Prompts copied in one transaction; their responses are in memory meanwhile.
_PROMPTS_AT_ONCE = 200

#: Streams that an error names at most.
_NAMED_STREAMS = 20


@dataclass
class Derived:
    """Counts of a base's prompts in one derived stream."""

    added: int = 0
    present: int = 0
    left_open: int = 0  # left out: answers may still come
    left_too_few: int = 0  # left out: fewer than two usable responses


def derivations(base: str, policies: Sequence[str], pairs_per_prompt: int | None, teaches: bool) -> list[Derivation]:
    """The streams that a rematch derives, each policy once.

    Raises:
        SettingsError: no policy has the name, or the base is derived itself.
    """
    for policy in policies:
        policy_named(policy)
    return [Derivation(base, policy, pairs_per_prompt, teaches) for policy in dict.fromkeys(policies)]


def derive(store: Store, derived: Derivation, followed: Callable[[int], None] = lambda _prompts: None) -> Derived:
    """Copy the prompts that a base has now to a derived stream; prompts that are there already stay as they are.

    A prompt keeps its id, skill and content hash: a prompt whose responses changed since it was copied is not copied
    again. `followed` is called with the number of the base's prompts in each transaction.

    Raises:
        KarmaError: the base holds no prompt.
    """
    count = Derived()
    after = seen = 0
    while True:
        with store.transaction() as transaction:
            rows = answered_prompts(transaction.ledger.connection, derived.base, after, _PROMPTS_AT_ONCE)
            new = [_prompt(row, texts) for row, texts in rows if row.complete and len(texts) >= 2]
            answers = transaction.ledger.accept(derived.name, new)
        count.added += answers.count("accepted")
        count.present += answers.count("present")
        count.left_open += sum(not row.complete for row, _texts in rows)
        count.left_too_few += sum(bool(row.complete) and len(texts) < 2 for row, texts in rows)
        seen += len(rows)
        followed(len(rows))
        if len(rows) < _PROMPTS_AT_ONCE:
            break
        after = rows[-1][0].id
    if not seen:
        raise KarmaError(f"the stream {derived.base!r} holds no prompt{_others(store)}")
    return count


def _prompt(row: Any, texts: Sequence[Given]) -> NewPrompt:
    return NewPrompt(
        prompt_id=row.prompt_id,
        content_hash=row.content_hash,
        messages=row.messages,
        skill=row.skill,
        reference=row.reference,
        given=json.dumps(texts, ensure_ascii=False),
    )


def _others(store: Store) -> str:
    with store.reading() as transaction:
        names = sorted(stream_names(transaction.ledger.connection, _NAMED_STREAMS))
    return f"; known streams: {', '.join(names)}" if names else "; enqueue some first: karma enqueue FILE"
