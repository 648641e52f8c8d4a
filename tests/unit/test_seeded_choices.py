"""Plans and pairs are what their seeds say: the same as when they were first written down, at revision 0a43ebf.

A prompt that is matched again, under another revision of KARMA, must give the same pairs. Plans of `informative` and
`kin` were written down anew when the share of prompts that explore changed; at a share of 0 or 1 they are as ever.
`wide-gap` came later.
"""

from __future__ import annotations

import hashlib
import json
import random

import numpy as np
import pytest

from karma.policies.candidates import Candidate
from karma.ranking.snapshot import Snapshot
from karma_gateway.planning import PlannedPrompt, plan
from karma_matching.pairing import form
from karma_scoring.fit.competency import Counts, Prior, fit
from karma_scoring.fit.kinship import snapshot

MODELS = "abcdefgh"
WORDS = ("alpha", "beta", "gamma", "7", "8", "no", "yes")
DIGESTS = {
    "informative": ("c8a27f3414e3e8c1", "c558372de2cbd57d"),
    "kin": ("7b6bf65f83624c4b", "42af7ebc489f7824"),
    "random": ("e75a37c07e405712", "e75a37c07e405712"),
    "wide-gap": ("ada8660fef86fa79", "b95f625358f71f51"),
    "best-vs-worst": ("f0ade7327c9f95b8", "12918176780e3b6d"),
    "best-vs-random": ("39f63dad70ff3018", "f3afc568c970429e"),
    "all-pairs": ("e75a37c07e405712", "e75a37c07e405712"),
    "self": ("bb9a862be6fbb7de", "bb9a862be6fbb7de"),
}


def learned() -> Snapshot:
    """Competencies after verdicts between seven of the models, in two skills."""
    rng = np.random.default_rng(4)
    first, second = rng.integers(0, 7, 60), rng.integers(0, 6, 60)
    numbers = rng.uniform(0, 9, (3, 60))
    counts = Counts(rng.integers(-1, 2, 60), first, second, *numbers)
    return snapshot(fit(counts, list(MODELS[:7]), ["x", "y"], Prior()), 1)


def digest(policy: str, known: Snapshot) -> str:
    """Of 1,920 planned prompts and the pairs of 240 sets of responses."""
    rng, chosen = random.Random(1), []
    for target in (None, "c"):
        for number in (0, 2, 3, 5):
            prompts = [
                PlannedPrompt(rng.randrange(-(2**63), 2**64), (None, "x", "y", "new")[n % 4]) for n in range(240)
            ]
            chosen.append(plan(prompts, MODELS, policy, number, known, target))
    for number in range(240):
        candidates = [
            Candidate(
                rng.randrange(10**6),
                rng.choice(MODELS),
                sample,
                " ".join(rng.choices(WORDS, k=rng.choice((0, 1, 3, 30)))),
                rng.random() if number % 2 else None,
                {name: float(rng.randrange(100)) for name in ("words", "lines")},
            )
            for sample in range(rng.randrange(10))
        ]
        skill, target = (None, "x")[number % 2], (None, "c")[number % 3 % 2]
        pairs, reason = form(candidates, policy, number % 4, known, skill, number, target)
        chosen.append([reason, *((pair.a, pair.b) for pair in pairs)])
    return hashlib.sha256(json.dumps(chosen).encode()).hexdigest()[:16]


@pytest.mark.parametrize("policy", DIGESTS)
def test_a_seed_gives_the_same_plans_and_pairs_as_ever(policy: str) -> None:
    assert (digest(policy, Snapshot.empty()), digest(policy, learned())) == DIGESTS[policy]
