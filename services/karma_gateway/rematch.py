"""Rematch: what would other policies have given? Stored prompts with their stored responses, paired anew.

Each policy gets a stream of its own (`karma.config.streams`), whose prompts bring the base's responses: nothing is
generated again and nothing of the base is touched. The services treat it like any stream of prompts with responses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from karma import plugins
from karma.config.streams import BUILT_IN_POLICIES, Derivation
from karma.errors import KarmaError
from karma.store import Store
from karma.store.answered_prompts import answered_prompts
from karma.store.records import NewPrompt
from karma.store.streams import stream_names

#: Prompts taken over in one transaction; their responses are in memory meanwhile.
_PROMPTS_AT_ONCE = 200

#: Streams that an error names at most.
_NAMED_STREAMS = 20


@dataclass
class Derived:
    """What became of a base's prompts in one derived stream."""

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
        plugins.find("policies", policy, dict.fromkeys(BUILT_IN_POLICIES))
    return [Derivation(base, policy, pairs_per_prompt, teaches) for policy in dict.fromkeys(policies)]


def derive(store: Store, derived: Derivation, followed: Callable[[int], None] = lambda _prompts: None) -> Derived:
    """Fill a derived stream with what its base has now; what it holds already stays as it is.

    A prompt keeps its id and skill. Its content is known by the base's: a prompt whose responses changed since it was
    taken over is not taken again. `followed` is told of each piece how many of the base's prompts it was.

    Raises:
        KarmaError: the base holds no prompt.
    """
    count = Derived()
    after = seen = 0
    while True:
        with store.transaction() as transaction:
            found = answered_prompts(transaction.ledger.connection, derived.base, after, _PROMPTS_AT_ONCE)
            new = [_prompt(row, texts) for row, texts in found if row.complete and len(texts) >= 2]
            answers = transaction.ledger.accept(derived.name, new)
        count.added += answers.count("accepted")
        count.present += answers.count("present")
        count.left_open += sum(not row.complete for row, _texts in found)
        count.left_too_few += sum(bool(row.complete) and len(texts) < 2 for row, texts in found)
        seen += len(found)
        followed(len(found))
        if len(found) < _PROMPTS_AT_ONCE:
            break
        after = found[-1][0].id
    if not seen:
        raise KarmaError(f"the stream {derived.base!r} holds no prompt{_others(store)}")
    return count


def _prompt(row: Any, texts: Sequence[Any]) -> NewPrompt:
    given = [(text.model, text.sample, text.text) for text in texts]
    return NewPrompt(
        prompt_id=row.prompt_id,
        content_hash=row.content_hash,
        messages=row.messages,
        skill=row.skill,
        reference=row.reference,
        given=json.dumps(given, ensure_ascii=False),
    )


def _others(store: Store) -> str:
    with store.reading() as transaction:
        names = sorted(stream_names(transaction.ledger.connection, _NAMED_STREAMS))
    return f"; known streams: {', '.join(names)}" if names else "; enqueue some first: karma enqueue FILE"
