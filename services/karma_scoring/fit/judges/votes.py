"""Votes: the verdicts of several judges on the same pairs as arrays, one row a pair and one column a judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karma.ranking.jury import MOST_LOGITS
from karma.verdicts import TIE_MARGIN
from karma_scoring.fit.likelihood import Array, Indices

Flags = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]

#: Tolerance of the tie margin, as in `karma.verdicts`.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Votes:
    """Verdicts of J judges on n pairs. Signs are 1 for response a, −1 for b, 0 for neither."""

    judges: tuple[str, ...]
    logit: Array  # [n, J] for a, mean over the orders; 0 without a verdict
    first: Array  # [n, J] 1 if only the order with a first was asked, −1 if only the other, else 0
    present: Array  # [n, J] 1 where there is a valid verdict, else 0
    side: Array  # [n, J] sign of the opinion, 0 within the tie margin
    reference: Array  # [n] sign of the response that the reference calls right; 0 where it does not tell them apart
    magnitude: Array  # [J] root mean square of the logits of single verdicts
    center: Array  # [J] mean logit of single verdicts for the response shown first; 0 if shown one order only
    position_bias: Array  # [J] mean P(first is better) − 1/2; nan for judges that are shown one order only
    tie_rate: Array  # [J] share of valid verdicts without a side
    flip_rate: Array  # [J] share of pairs in both orders that take different sides; nan without any

    @property
    def evidence(self) -> Array:
        """[n, J] logit for a beyond what the judge says on average of whatever is shown first, in usual logits.

        At most one: a logit beyond the judge's usual ones is no surer. What is known of a judge comes from its usual
        verdicts, and the few large logits would carry every label (bounded influence: Huber 1964, Annals of
        Mathematical Statistics 35, 73–101).
        """
        beyond: Array = (self.logit - self.first * self.center) / self.magnitude
        return np.clip(beyond, -1.0, 1.0)

    def of(self, kept: Flags) -> Votes:
        """The rows of some pairs, [n] booleans; the habits stay those of all."""
        rows = {name: getattr(self, name)[kept] for name in ("logit", "first", "present", "side", "reference")}
        return Votes(
            self.judges,
            **rows,
            **{name: getattr(self, name) for name in ("magnitude", "center", "position_bias", "tie_rate", "flip_rate")},
        )


def votes(
    judges: Sequence[str],
    pair: Indices,
    judge: Indices,
    shown: Indices,
    probability: Array,
    reference: Array,
    tie_margin: Array | float = TIE_MARGIN,
) -> Votes:
    """The votes of valid verdicts.

    Args:
        judges: names.
        pair: [v] row of each verdict.
        judge: [v] column of each verdict.
        shown: [v] its order, 0 or 1.
        probability: [v] P(the response shown first is better).
        reference: [n] as in `Votes`.
        tie_margin: of each pair, [n], or of all.
    """
    size, shape = len(reference) * len(judges), (len(reference), len(judges))
    margin = np.broadcast_to(np.asarray(tie_margin, dtype=np.float64), (len(reference),))
    most = 1.0 / (1.0 + np.exp(-MOST_LOGITS))
    p = np.clip(probability, 1.0 - most, most)
    from_first = np.log(p) - np.log1p(-p)
    sign = 1.0 - 2.0 * shown
    cell = pair * len(judges) + judge

    def total(values: Floats) -> Array:
        return np.bincount(cell, weights=values, minlength=size).reshape(shape).astype(np.float64)

    orders = total(np.ones(len(cell)))
    number = np.maximum(orders, 1.0)
    a_better = np.where(shown == 0, probability, 1.0 - probability)
    one_sided = _signs(a_better, margin[pair])
    both = orders == 2.0
    of_judge = np.maximum(np.bincount(judge, minlength=len(judges)), 1.0)

    def mean(values: Array) -> Array:
        return np.bincount(judge, weights=values, minlength=len(judges)) / of_judge

    sees_order = mean(shown.astype(np.float64)) > 0.0
    flipped = both & (np.abs(total(np.abs(one_sided)) - 2.0) < 0.5) & (total(one_sided) == 0.0)
    in_both = both.sum(axis=0)
    return Votes(
        tuple(judges),
        logit=total(sign * from_first) / number,
        first=np.where(sees_order, total(sign) / number, 0.0),
        present=(orders > 0.0).astype(np.float64),
        side=np.where(orders > 0.0, _signs(total(a_better) / number, margin[:, None]), 0.0),
        reference=reference,
        magnitude=np.sqrt(np.maximum(mean(from_first**2), 1e-6)),
        center=np.where(sees_order, mean(from_first), 0.0),
        position_bias=np.where(sees_order, mean(probability) - 0.5, np.nan),
        tie_rate=mean((one_sided == 0.0).astype(np.float64)),
        flip_rate=np.where(in_both > 0, flipped.sum(axis=0) / np.maximum(in_both, 1), np.nan),
    )


def _signs(a_better: Array, margin: Array) -> Array:
    signs: Array = np.where(np.abs(a_better - 0.5) <= margin + _ROUNDING, 0.0, np.sign(a_better - 0.5))
    return signs
