"""Rematch and rejudge: pair stored responses again under other policies, or have stored pairs judged by other judges.

Each policy, or each set of judges, gets a derived stream (`karma.config.derived_streams`) whose prompts have the base's
responses as given responses. No response is generated again, and the base does not change. The services treat a derived
stream like any other; matching forms the pairs of a rejudged stream as the base has them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any

from karma.config.derived_streams import Derivation
from karma.config.pool import Pool
from karma.config.tables import check_known
from karma.errors import SettingsError
from karma.plugins import policy_named
from karma.store import Store, Transaction
from karma.store.answered_prompts import COPIED, Given, answered_prompts
from karma.store.records import NewPrompt
from karma.store.stored_pairs import stored_pairs
from karma.store.streams import recorded_goals, stream_names

#: Prompts copied in one transaction; their responses are in memory meanwhile.
_PROMPTS_AT_ONCE = 200

#: Most streams that an error names.
_NAMED_STREAMS = 20


@dataclass
class Derived:
    """Counts of a base's prompts in one derived stream."""

    added: int = 0
    present: int = 0
    left_open: int = 0  # left out: responses are still open
    left_too_few: int = 0  # left out: fewer than two usable responses
    left_without_pair: int = 0  # left out of a rejudged stream: the base has no pair of them


def derivations(base: str, policies: Sequence[str], pairs_per_prompt: int | None, teaches: bool) -> list[Derivation]:
    """The streams that a rematch derives, one per policy.

    Raises:
        SettingsError: no policy has the name, or the base is derived itself.
    """
    for policy in policies:
        policy_named(policy)
    return [Derivation(base, policy, pairs_per_prompt, teaches) for policy in dict.fromkeys(policies)]


def rejudged(base: str, judges: Sequence[str], teaches: bool, pool: Pool) -> Derivation:
    """The stream that a rejudge derives: every pair of the base, judged by these judges.

    Raises:
        SettingsError: the pool has no judge of the name, none is named, or the base is derived itself.
    """
    for judge in judges:
        check_known(judge, pool.judges, "--judge", "judge")
    return Derivation.rejudged(base, tuple(judges), teaches)


def derive(store: Store, derived: Derivation, followed: Callable[[int], None] = lambda _prompts: None) -> Derived:
    """Copy a base's current prompts to a derived stream; prompts that were copied before do not change.

    A prompt keeps its id, skill, metadata and content hash. If its responses change later, it is not copied again.
    `followed` is called with the number of the base's prompts in each transaction.

    Raises:
        SettingsError: the base has no prompt.
    """
    count = Derived()
    after = seen = 0
    while True:
        with store.transaction() as transaction:
            rows = answered_prompts(transaction.ledger.connection, derived.base, after, _PROMPTS_AT_ONCE)
            paired = _paired(transaction, derived, rows)
            usable = [(row, texts) for row, texts in rows if row.complete and len(texts) >= 2]
            new = [_prompt(row, texts) for row, texts in usable if paired is None or row.prompt_id in paired]
            goal = recorded_goals(transaction.ledger.connection, [derived.base]).get(derived.base)
            answers = transaction.ledger.accept(derived.name, new, goal)
        count.added += answers.count("accepted")
        count.present += answers.count("present")
        count.left_open += sum(not row.complete for row, _texts in rows)
        count.left_without_pair += len(usable) - len(new)
        count.left_too_few += sum(bool(row.complete) and len(texts) < 2 for row, texts in rows)
        seen += len(rows)
        followed(len(rows))
        if len(rows) < _PROMPTS_AT_ONCE:
            break
        after = rows[-1][0].id
    if not seen:
        raise SettingsError(f"the stream {derived.base!r} holds no prompt{_others(store)}")
    return count


def _paired(transaction: Transaction, derived: Derivation, rows: Sequence[Any]) -> Container[str] | None:
    """The prompts of a rejudged stream that have a pair in the base; None where pairs are formed anew."""
    if not derived.judges:
        return None
    return stored_pairs(transaction.ledger.connection, derived.base, [row.prompt_id for row, _texts in rows])


def _prompt(row: Any, texts: Sequence[Given]) -> NewPrompt:
    copied = {name: getattr(row, name) for name in COPIED}
    return NewPrompt(**copied, given=json.dumps(texts, ensure_ascii=False))


def _others(store: Store) -> str:
    with store.reading() as transaction:
        names = sorted(stream_names(transaction.ledger.connection, _NAMED_STREAMS))
    return f"; known streams: {', '.join(names)}" if names else "; enqueue some first: karma enqueue FILE"
