"""Judges with a model of their own in the pool: whose verdicts on it are compared with which other judges'."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

from karma.config.derived_streams import teaches
from karma.config.kin_judges import own_models_of
from karma.config.pool import Pool
from karma.plugins.registry import judge_kind
from karma.ranking.self_preference import SelfPreference
from karma.store import Transaction
from karma.store.judged_pairs import JudgedPair, judged_pairs
from karma.store.jury_verdicts import people
from karma_scoring.fit.judges.self_preference import self_preference
from karma_scoring.fit.time_buckets import bucket_at

#: Most pairs that self-preference is measured on: the newest.
PAIRS = 10_000
#: Share of the time that measuring it may take.
_TIME_SHARE = 0.02


def own_models(pool: Pool) -> dict[str, frozenset[str]]:
    """Judge → the pool's models that are the judge's own: both use the same model, at whatever endpoint."""
    return {
        name: frozenset(own_models_of(pool, judge.model))
        for name, judge in pool.judges.items()
        if judge.model is not None
    }


def other_judges(pool: Pool, own: Collection[str]) -> frozenset[str]:
    """The judges whose verdicts say something of some models: they read responses, and have none of these models."""
    of_judge = own_models(pool)
    return frozenset(
        name
        for name, judge in pool.judges.items()
        if judge_kind(judge.kind).reads_responses and of_judge.get(name, frozenset()).isdisjoint(own)
    )


class SelfPreferences:
    """The self-preference of the pool's judges, measured again while that takes little of the time.

    A pool whose judges have no model of their own costs nothing.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._own = {judge: models for judge, models in own_models(pool).items() if models}
        self._known: Mapping[str, SelfPreference] = {}
        self._due_at = 0.0  # by the monotonic clock
        self._read_s = 0.0
        self._people: frozenset[str] = frozenset()

    def read(self, transaction: Transaction) -> list[JudgedPair] | None:
        """The newest judged pairs; None where the known figures stay."""
        began = time.monotonic()
        if not self._own or began < self._due_at:
            return None
        pairs = judged_pairs(transaction.ledger.connection, PAIRS, self._pool.tie_margin)
        self._people = people(transaction.ledger.connection)
        self._read_s = time.monotonic() - began
        return pairs

    def measure(self, pairs: Sequence[JudgedPair] | None, changed: Mapping[str, int]) -> Mapping[str, SelfPreference]:
        """The figures by judge; the known ones without pairs.

        Args:
            pairs: the result of `read`.
            changed: model → time bucket of its last change; pairs judged before are of another model.
        """
        if pairs is None:
            return self._known
        began = time.monotonic()
        present = [pair for pair in map(self._renamed, pairs) if teaches(pair.stream) and _is_present(pair, changed)]
        self._known = {
            judge: self_preference(present, judge, own, other_judges(self._pool, own) | self._people)
            for judge, own in self._own.items()
        }
        now = time.monotonic()
        self._due_at = now + (now - began + self._read_s) / _TIME_SHARE
        return self._known

    def _renamed(self, pair: JudgedPair) -> JudgedPair:
        aliases = self._pool.aliases
        if not aliases:
            return pair
        a, b = aliases.get(pair.model_a, pair.model_a), aliases.get(pair.model_b, pair.model_b)
        return pair._replace(model_a=a, model_b=b)


def _is_present(pair: JudgedPair, changed: Mapping[str, int]) -> bool:
    since = max(changed.get(pair.model_a, 0), changed.get(pair.model_b, 0))
    return bucket_at(pair.resolved_at) >= since
