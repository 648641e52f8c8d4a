"""What holds for the pairs of any responses, and for the plan of any prompts."""

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from karma.plugins.registry import POLICIES
from karma.policies.candidates import Candidate
from karma.policies.similarity import near_duplicates, similarity
from karma.ranking.snapshot import Snapshot
from karma_gateway.planning import PlannedPrompt, plan
from karma_matching.pairing import form
from karma_scoring.fit.competency import Counts, Prior, fit
from karma_scoring.fit.kinship import snapshot

MODELS = ("a", "b", "c", "d", "e")
texts = st.sampled_from(
    ["", "Yes.", "yes. ", "no", "no, because 7 is odd", "No,  because 7 IS odd", "169", "about 170"]
)
features = st.dictionaries(st.sampled_from(["words", "lines", "variety"]), st.floats(-5, 1000), max_size=3)
qualities = st.none() | st.floats(0, 1)
policies = st.sampled_from(sorted(POLICIES))
targets = st.none() | st.sampled_from(MODELS)
seeds = st.integers(0, 2**63 - 1)


def learned(seed: int) -> Snapshot:
    """The snapshot after some random verdicts between a, b and c; d is seldom seen, e is unknown."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 4, 8), rng.integers(0, 3, 8)
    numbers = rng.uniform(0, 30, (3, 8))
    return snapshot(fit(Counts(rng.integers(-1, 1, 8), first, second, *numbers), MODELS[:4], ["x"], Prior()), 1)


snapshots = st.builds(learned, st.integers(0, 20)) | st.just(Snapshot.empty())


@st.composite
def responses(draw: st.DrawFn) -> list[Candidate]:
    """Up to eight responses with different ids."""
    ids = draw(st.lists(st.integers(1, 10**9), unique=True, max_size=8))
    return [
        Candidate(number, draw(st.sampled_from(MODELS)), place, draw(texts), draw(qualities), draw(features))
        for place, number in enumerate(ids)
    ]


@given(responses(), policies, st.integers(0, 9), snapshots, st.sampled_from([None, "x"]), seeds, targets)
def test_pairs_are_ordered_different_and_never_of_one_text(
    candidates: list[Candidate],
    policy: str,
    count: int,
    known: Snapshot,
    skill: str | None,
    seed: int,
    target: str | None,
) -> None:
    """a < b, no pair twice, at most as many as wanted; a reason exactly where there is none; a chance above 0."""
    by_id = {candidate.response_id: candidate for candidate in candidates}

    pairs, reason = form(candidates, policy, count, known, skill, seed, target)

    assert bool(pairs) != bool(reason)
    assert len({(pair.a, pair.b) for pair in pairs}) == len(pairs) <= (count or len(pairs))
    for pair in pairs:
        a, b = by_id[pair.a], by_id[pair.b]
        assert pair.a < pair.b
        assert a.text.strip() and b.text.strip()
        assert a.text.casefold().split() != b.text.casefold().split()
        assert target is None or target in (a.model, b.model)
        assert policy != "self" or a.model == b.model
        assert 0.0 < float(pair.reasons["probability"] or 0.0) <= 1.0


@given(responses(), policies, st.integers(0, 9), snapshots, seeds, targets, st.randoms())
def test_pairs_depend_neither_on_the_order_of_the_responses_nor_on_the_run(
    candidates: list[Candidate],
    policy: str,
    count: int,
    known: Snapshot,
    seed: int,
    target: str | None,
    shuffler: random.Random,
) -> None:
    """The same seed, responses and snapshot give the same pairs with the same reasons."""
    shuffled = list(candidates)
    shuffler.shuffle(shuffled)

    assert form(shuffled, policy, count, known, None, seed, target) == form(
        candidates, policy, count, known, None, seed, target
    )


@given(st.lists(texts, max_size=6))
def test_near_duplicates_contain_all_equal_texts(found: list[str]) -> None:
    """And each pair once, in order."""
    pairs = near_duplicates(found)

    forms = [" ".join(text.casefold().split()) for text in found]
    equal = {(x, y) for y in range(len(forms)) for x in range(y) if forms[x] == forms[y]}
    assert equal <= pairs
    assert all(x < y for x, y in pairs)


@given(qualities, qualities, features, features)
def test_similarity_is_symmetric_and_between_0_and_1(
    quality_a: float | None, quality_b: float | None, features_a: dict[str, float], features_b: dict[str, float]
) -> None:
    """For any features."""
    found = similarity(quality_a, quality_b, features_a, features_b)

    assert 0.0 <= found <= 1.0
    assert found == similarity(quality_b, quality_a, features_b, features_a)


@given(
    st.lists(st.tuples(seeds, st.sampled_from([None, "x", "new"])), max_size=40),
    st.lists(st.sampled_from(MODELS), unique=True),
    policies,
    st.sampled_from([0, 2, 3, 4]),
    snapshots,
    targets,
    st.floats(0, 1),
)
def test_every_plan_can_be_paired_and_is_the_same_again(
    wanted: list[tuple[int, str | None]],
    models: list[str],
    policy: str,
    number: int,
    known: Snapshot,
    target: str | None,
    explore_share: float,
) -> None:
    """Two answers or more to each prompt, none asked twice, the target among them; or nothing is asked at all."""
    prompts = [PlannedPrompt(*prompt) for prompt in wanted]

    planned = plan(prompts, models, policy, number, known, target, explore_share)

    assert len(planned) == len(prompts)
    for answers in planned:
        assert len(answers) != 1
        assert len(set(answers)) == len(answers)
        assert {model for model, _ in answers} <= set(models)
        assert not answers or target is None or target in {model for model, _ in answers}
    assert planned == plan(prompts, models[::-1], policy, number, known, target, explore_share)
