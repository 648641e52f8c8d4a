"""What the word of each judge counts for, estimated again from the store while that takes little of the time."""

from __future__ import annotations

import time

import numpy as np

from karma.config.pool import Pool
from karma.plugins.registry import judge_kind
from karma.ranking.jury import Jury
from karma.store import Transaction
from karma.store.jury_verdicts import JuryVerdicts, human_pairs, jury_verdicts
from karma_scoring.fit.judges.jury_fit import REFERENCE_ACCURACY, fit_jury
from karma_scoring.fit.judges.votes import Votes, votes

#: Accuracy that the verdict of a person is taken to have.
PERSON_ACCURACY = 0.95
#: Most pairs that the weights are estimated from: the newest.
PAIRS = 10_000
#: Share of the time that reading and fitting may take.
_TIME_SHARE = 0.02


class JuryWeights:
    """The jury of the pool's judges. A pool with one judge and without verdicts of people costs nothing."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._verifiers = {name for name, judge in pool.judges.items() if judge_kind(judge.kind).checks_reference}
        self._known = Jury()
        self._due_at = 0.0  # by the monotonic clock

    def fit(self, transaction: Transaction) -> Jury:
        """The jury by the newest verdicts; empty while too few pairs have several."""
        began = time.monotonic()
        connection = transaction.ledger.connection
        if began < self._due_at or (len(self._pool.judges) < 2 and not human_pairs(connection, 1)):
            return self._known
        found = jury_verdicts(connection, PAIRS)
        anchors = dict.fromkeys(self._verifiers, REFERENCE_ACCURACY) | dict.fromkeys(found.people, PERSON_ACCURACY)
        self._known = Jury(fit_jury(votes_of(found, self._pool), anchors))
        now = time.monotonic()
        self._due_at = now + (now - began) / _TIME_SHARE
        return self._known


def votes_of(found: JuryVerdicts, pool: Pool) -> Votes:
    """The verdicts as arrays."""
    row = {pair.id: index for index, pair in enumerate(found.pairs)}
    margins = {stream: pool.tie_margin(stream) for stream in {pair.stream for pair in found.pairs}}
    given = found.verdicts
    judges = sorted({each.judge for each in given})
    column = {judge: index for index, judge in enumerate(judges)}
    return votes(
        judges,
        np.array([row[each.pair] for each in given], dtype=np.int64),
        np.array([column[each.judge] for each in given], dtype=np.int64),
        np.array([each.shown for each in given], dtype=np.int64),
        np.array([each.probability for each in given], dtype=np.float64),
        np.array([pair.reference for pair in found.pairs], dtype=np.float64),
        np.array([margins[pair.stream] for pair in found.pairs], dtype=np.float64),
    )
