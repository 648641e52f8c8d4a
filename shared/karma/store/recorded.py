"""What a transaction recorded, remembered for those who count it once it is committed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from karma.store.database import Transaction
from karma.store.ledger import Ledger
from karma.store.preferences import Preferences
from karma.store.records import NewResolution, NewResponse, NewVerdict, PairRow, PromptRow, VerdictRow


@dataclass
class Recorded:
    """The rows that a transaction added, and those that it read on the way."""

    responses: list[NewResponse] = field(default_factory=list)
    verdicts: list[NewVerdict] = field(default_factory=list)
    resolutions: list[NewResolution] = field(default_factory=list)
    ended: dict[int, str | None] = field(default_factory=dict)  # prompt → why it has no pair
    prompts: dict[int, PromptRow] = field(default_factory=dict)  # as they were locked
    pairs: dict[int, PairRow] = field(default_factory=dict)  # that were read
    opinions: dict[int, list[VerdictRow]] = field(default_factory=dict)  # pair → all verdicts on it, where read


def remembered(transaction: Transaction) -> tuple[Transaction, Recorded]:
    """The same transaction, and what it records from now on.

    A result that comes a second time records nothing: what is counted from here never exceeds what is stored.
    """
    recorded = Recorded()
    ledger, preferences = transaction.ledger, transaction.preferences
    watched = Transaction(
        _Ledger(ledger.connection, ledger.now, recorded),
        transaction.work,
        _Preferences(preferences.connection, preferences.now, recorded),
        transaction.judge_budgets,
    )
    return watched, recorded


class _Ledger(Ledger):
    def __init__(self, connection: Connection, now: float, recorded: Recorded) -> None:
        super().__init__(connection, now)
        self._recorded = recorded

    def lock_prompts(self, ids: Iterable[int]) -> dict[int, PromptRow]:
        found = super().lock_prompts(ids)
        self._recorded.prompts.update(found)
        return found

    def end(self, ids: Sequence[int], no_pair: Mapping[int, str] | None = None) -> None:
        super().end(ids, no_pair)
        self._recorded.ended.update((id_, (no_pair or {}).get(id_)) for id_ in ids)


class _Preferences(Preferences):
    def __init__(self, connection: Connection, now: float, recorded: Recorded) -> None:
        super().__init__(connection, now)
        self._recorded = recorded

    def add_responses(self, new: Sequence[NewResponse]) -> None:
        super().add_responses(new)
        self._recorded.responses.extend(new)

    def add_verdicts(self, new: Sequence[NewVerdict]) -> None:
        super().add_verdicts(new)
        self._recorded.verdicts.extend(new)

    def add_resolutions(self, new: Sequence[NewResolution]) -> None:
        super().add_resolutions(new)
        self._recorded.resolutions.extend(new)

    def pairs_of(self, pair_ids: Iterable[int]) -> dict[int, PairRow]:
        found = super().pairs_of(pair_ids)
        self._recorded.pairs.update(found)
        return found

    def verdicts_of(self, pair_ids: Iterable[int]) -> dict[int, list[VerdictRow]]:
        found = super().verdicts_of(pair_ids)
        self._recorded.opinions.update(found)
        return found
