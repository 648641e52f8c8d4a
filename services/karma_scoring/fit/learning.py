"""Learning: what the evidence comes to, once it is settled which models have changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from karma_scoring.fit.benchmarks import fit_with_standings
from karma_scoring.fit.competency import Posterior, Prior
from karma_scoring.fit.drift import CERTAIN, Change, changes, former_until, present, put_down_to_former
from karma_scoring.fit.evidence import Evidence


@dataclass(frozen=True, eq=False)
class Learnt:
    """A posterior, of former models too, and the changes that were found on the way."""

    posterior: Posterior
    changes: tuple[Change, ...]


def learn_from(
    seen: Evidence, parents: Mapping[str, str], standing: Mapping[str, float], start: Posterior | None = None
) -> Learnt:
    """Fit the evidence, and again as long as it shows that a model has changed.

    One model at a time, the most certain first: one that rises makes its rivals seem to fall.

    Args:
        seen: the evidence.
        parents: child → parent.
        standing: in benchmarks, by model; see `benchmarks.standings`.
        start: an earlier posterior.
    """
    found: list[Change] = []
    while True:
        first = _first_forms(seen.models)
        prior = Prior(parents={first[child]: first[parent] for child, parent in parents.items() if parent in first})
        means = {name: standing[present(name)] for name in seen.models if present(name) in standing}
        start, _slope = fit_with_standings(seen.counts, seen.models, seen.skills, prior, means, start)
        strongest = next(iter(changes(seen, start)), None)
        if strongest is None or strongest.log_bayes_factor < CERTAIN:
            return Learnt(start, tuple(found))
        found.append(strongest)
        seen = put_down_to_former(seen, strongest)


def _first_forms(names: Sequence[str]) -> dict[str, str]:
    """By model, the name of what it was first: a child was made of its parent before either changed."""
    first: dict[str, str] = {}
    for name in sorted(names, key=former_until):
        first.setdefault(present(name), name)
    return first
