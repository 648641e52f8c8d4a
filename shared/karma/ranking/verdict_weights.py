"""The weight of a verdict in the competency counts.

Verdicts on several pairs of one prompt share responses, so they are not independent: the verdicts among n responses
follow from the n − 1 differences of their latent qualities (Thurstone 1927, Psychological Review 34, 273–286). m
verdicts that connect n responses therefore count as n − 1, each as (n − 1)/m: 2/n where all pairs are judged. In
general the number of independent comparisons is the rank of the graph of pairs, n minus its connected components
(Biggs 1993, Algebraic Graph Theory, proposition 4.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class PromptPair(NamedTuple):
    """A pair of a prompt, to be judged or not."""

    prompt: int
    response_a: int
    response_b: int
    judged: int  # 0 or 1


class PromptWeight(NamedTuple):
    """How much the verdicts on one prompt's pairs count."""

    formed: float = 1.0  # independent comparisons per formed pair, in (0, 1]
    judged: float = 1.0  # the same per judged pair

    def of(self, probability: float) -> tuple[float, float]:
        """The weight of a verdict and its square for the effective sample size, Σw / Σ of these squares.

        The weight is `formed` / π. Neither factor depends on which pairs happen to be judged, so sums of weights are
        unbiased (Horvitz & Thompson 1952, JASA 47, 663–685). A judged pair is worth `judged` verdicts, each of weight
        w / `judged`, whose squares add up to w² / `judged` (Kish 1965, Survey Sampling, section 11.7).

        Args:
            probability: π, of the pair being judged.
        """
        weight = self.formed / probability
        return weight, weight * weight / self.judged

    def selected_by_competency(self) -> tuple[float, float]:
        """The same where π follows from the competencies: the verdicts count alike, whatever their π.

        Given the competencies, such a choice says nothing of the verdict, so that the fit may ignore it (Little & Rubin
        2002, section 1.3). Inverse probabilities would let few audits outweigh all verdicts on the pairs that were not
        sure: half as many labels were sure then, and twice as many of them wrong (decision 16).
        """
        return self.judged, self.judged


def prompt_weight(pairs: Sequence[PromptPair]) -> PromptWeight:
    """The weight of the verdicts on one prompt's pairs."""
    return PromptWeight(_independent_share(pairs), _independent_share([pair for pair in pairs if pair.judged]))


def _independent_share(pairs: Sequence[PromptPair]) -> float:
    """Independent comparisons per pair: the rank of the graph of pairs over their number; 1 without pairs."""
    parent: dict[int, int] = {}

    def root(response: int) -> int:
        while (above := parent.setdefault(response, response)) != response:
            parent[response] = response = parent[above]
        return response

    rank = 0
    for pair in pairs:
        first, second = root(pair.response_a), root(pair.response_b)
        if first != second:
            parent[first] = second
            rank += 1
    return rank / len(pairs) if pairs else 1.0
