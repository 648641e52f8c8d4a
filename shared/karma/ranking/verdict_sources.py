"""Sources of verdicts: kinds of judging whose verdicts take no side at rates of their own.

A verifier may tie in most pairs where a judge ties in few, so each source has a tie parameter of its own (Davidson
1970, JASA 65, 317–328). A contradiction between the two orders of a judge is such a verdict without a side.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from karma.verdicts import Verdict

#: Pairs whose valid verdicts are all by verifiers.
PROBE = "probe"
#: Pairs that one judge compared in both orders, where it named a side or a tie without a probability.
ORDERS = "orders"
#: Verdicts of people (`karma verdicts`); also what stands for their template in the store.
HUMAN = "human"
#: All others.
JUDGE = "judge"

_NAMED = (0.0, 0.5, 1.0)  # what a verdict without a probability is stored as


@dataclass(frozen=True)
class VerdictSource:
    """A source as a snapshot knows it."""

    tie: float  # Davidson's ν: at equal competency, P(no side) = ν / (2 + ν)
    scale: float  # logits of its decisive outcomes per logit of competency
    shares: tuple[float, ...]  # of this source's verdicts in those of a row of the snapshot, [1+S]

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> VerdictSource:
        """The source from its fields, also after a round trip through JSON."""
        return cls(**{**fields, "shares": tuple(fields["shares"])})


def source_of(verdicts: Iterable[Verdict], verifiers: Collection[str]) -> str:
    """The source of a pair's verdicts, by who gave them and how; never by the side that they take."""
    valid = [verdict for verdict in verdicts if verdict.probability is not None]
    judges = {verdict.judge for verdict in valid}
    if judges and judges.issubset(verifiers):
        return PROBE
    both = len(judges) == 1 and {verdict.shown for verdict in valid} == {0, 1}
    return ORDERS if both and all(verdict.probability in _NAMED for verdict in valid) else JUDGE


def scale_of(source: str, tie: float) -> float:
    """Logits of a source's decisive outcomes per logit of a single verdict: 1, or 1 to 2 for both orders.

    Two independent verdicts with log-odds d + b and d − b, b a position bias, agree on a side with the odds e^{2d} and
    contradict each other as Davidson's model with the gap 2d and ν = 2 cosh b ≥ 2 says. Where contradictions are
    rarer, the verdicts depend on each other, because both are about the same two responses. With the correlation ρ of
    the common correlation model (Bloch & Kraemer 1989, Biometrics 45, 269–287), at p = 1/2 both take one side with the
    probability (1 + ρ)/2 = 2/(2 + ν), and the log-odds of the side grow by 2/(1 + ρ) = 1 + ν/2 per logit: from 1, for
    a second verdict that repeats the first, to 2.

    Args:
        source: its name.
        tie: its ν.
    """
    return min(2.0, 1.0 + 0.5 * tie) if source == ORDERS else 1.0


def mean_tie(sources: Iterable[VerdictSource]) -> float:
    """The ν at which equal models take no side as often as over all sources together."""
    no_side = sum(source.shares[0] * source.tie / (2.0 + source.tie) for source in sources)
    return 2.0 * no_side / (1.0 - no_side)
