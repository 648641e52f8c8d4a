"""A stream of the tiny family in one process: planned, answered, paired, judged and learned from by the product's code.

Only the transport is missing. Every stream starts cold and learns from its own verdicts alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from karma.config.settings import StreamSettings
from karma.llm.transformers import LocalModel
from karma.messages import JudgeItem, JudgeSpec, ModelSpec, Turn
from karma.policies.candidates import Candidate
from karma.ranking.snapshot import Snapshot
from karma.seeds import seed_of
from karma.store.records import VerdictRow
from karma.verdicts import Outcome, Resolution, resolve
from karma_demo.family import MEMBERS, checkpoint_path
from karma_demo.tasks import SKILLS, Task
from karma_gateway.planning import PlannedPrompt, plan
from karma_judging.judges.likelihood import LikelihoodJudge
from karma_judging.judges.verifier import VerifierJudge
from karma_matching.pairing import FormedPair, form
from karma_scoring.features import features
from karma_scoring.fit.competency import Counts, Posterior, Prior
from karma_scoring.fit.kinship import snapshot
from karma_scoring.fit.prior_scale import fit_with_learned_scale

FAMILY: Mapping[str, Path] = {member.name: checkpoint_path(member.name) for member in MEMBERS}
_PARENTS = {member.name: member.parent for member in MEMBERS if member.parent is not None}
_PLANNED_AT_ONCE = 64  # prompts between two refits; the demo's setting
_JUDGES: Mapping[str, type[VerifierJudge] | type[LikelihoodJudge]] = {
    "verifier": VerifierJudge,
    "likelihood": LikelihoodJudge,
}
_MAX_TOKENS = 32  # the longest right answer needs fewer than 28
_BATCH = 256

#: (model, sample) → one text a task; None for a failure.
Answers = Mapping[tuple[str, int], Sequence[str | None]]


@dataclass(frozen=True)
class JudgedPair:
    """A pair that cost one judge call. `chosen` and `rejected` are texts; both empty where no side was taken."""

    prompt: int  # place in the list of tasks
    outcome: Outcome
    chosen: str = ""
    rejected: str = ""


@dataclass(frozen=True)
class Stream:
    """What a stream came to: its judged pairs in the order of their prompts, and how many prompts were asked."""

    pairs: Sequence[JudgedPair]
    prompts: int
    generations: int


def spec_of(name: str, checkpoint: Path, temperature: float) -> ModelSpec:
    """How a model is asked."""
    return ModelSpec(
        name=name,
        backend="transformers",
        model=str(checkpoint),
        temperature=temperature,
        max_tokens=_MAX_TOKENS,
        on_length="keep",
        concurrency=_BATCH,
    )


def texts(model: LocalModel, spec: ModelSpec, asked: Sequence[Task], seed: int) -> list[str | None]:
    """One response a task, in the order of the tasks; None for a failure."""
    found: list[str | None] = [None] * len(asked)
    chats = [(Turn("user", task.prompt),) for task in asked]
    seeds = [seed_of(seed, spec.name, place) for place in range(len(asked))]
    for group in model.generate(chats, seeds, spec):
        for place, made in group:
            found[place] = made.text
    return found


def answers(models: Mapping[str, Path], asked: Sequence[Task], temperature: float, samples: int, seed: int) -> Answers:
    """`samples` responses of every model to every task."""
    made: dict[tuple[str, int], Sequence[str | None]] = {}
    for name, checkpoint in models.items():
        spec = spec_of(name, checkpoint, temperature)
        for sample in range(samples):
            made[name, sample] = texts(LocalModel.load(spec), spec, asked, seed_of(seed, sample))
    return made


def run(
    asked: Sequence[Task], given: Answers, settings: StreamSettings, judge: JudgeSpec, prompts: int, calls: int
) -> Stream:
    """Run a stream until it has seen `prompts` prompts and spent `calls` judge calls.

    Raises:
        ValueError: there are too few tasks for that.
    """
    models = sorted({model for model, _sample in given})
    pairs: list[JudgedPair] = []
    counts = np.zeros((len(SKILLS), len(models), len(models), 3))  # wins of the first, of the second, ties
    posterior: Posterior | None = None
    known = Snapshot.empty(models, SKILLS)
    start = generations = 0
    while start < prompts or len(pairs) < calls:
        batch = range(start, min(start + _PLANNED_AT_ONCE, len(asked)))
        if not batch:
            raise ValueError(
                f"{len(asked)} tasks gave {len(pairs)} pairs to judge, fewer than {calls}: give more tasks"
            )
        formed, asked_for = _formed(batch, asked, given, models, settings, known)
        generations += asked_for
        for (place, pair, candidates), found in zip(formed, _judged(formed, asked, judge), strict=True):
            a, b = candidates[pair.a], candidates[pair.b]
            pairs.append(
                JudgedPair(place, found.outcome, *((a.text, b.text) if found.a_is_chosen else (b.text, a.text)))
                if found.outcome == "decisive"
                else JudgedPair(place, found.outcome)
            )
            if found.outcome != "unscored":
                column = 2 if found.outcome != "decisive" else 0 if found.a_is_chosen else 1
                counts[SKILLS.index(asked[place].skill), models.index(a.model), models.index(b.model), column] += 1
        posterior = fit_with_learned_scale(_counts(counts), models, SKILLS, Prior(parents=_PARENTS), posterior)
        known = snapshot(posterior, known.version + 1)
        start = batch.stop
    return Stream(pairs, start, generations)


_Formed = tuple[int, FormedPair, Mapping[int, Candidate]]


def _formed(
    batch: range,
    asked: Sequence[Task],
    given: Answers,
    models: Sequence[str],
    settings: StreamSettings,
    known: Snapshot,
) -> tuple[list[_Formed], int]:
    planned = plan(
        [PlannedPrompt(seed_of(asked[place].id, "plan"), asked[place].skill) for place in batch],
        models,
        settings.policy,
        settings.responses_per_prompt,
        known,
        settings.target,
        settings.explore_share,
    )
    formed: list[_Formed] = []
    for place, chosen in zip(batch, planned, strict=True):
        # The qualities are left out: they would come from the same checker as the verdicts, without being counted.
        candidates = {
            number: Candidate(number, model, sample, text, None, features(text))
            for number, (model, sample) in enumerate(chosen)
            if (text := given[model, sample][place]) is not None
        }
        pairs, _reason = form(
            list(candidates.values()),
            settings.policy,
            settings.pairs_per_prompt,
            known,
            asked[place].skill,
            seed_of(asked[place].id, "match"),
            settings.target,
        )
        formed.extend((place, pair, candidates) for pair in pairs)
    return formed, sum(map(len, planned))


def _judged(formed: Sequence[_Formed], asked: Sequence[Task], judge: JudgeSpec) -> list[Resolution]:
    items = [
        JudgeItem(
            item=number,
            pair=number,
            prompt=place,
            order=0,
            seed=0,
            messages=(Turn("user", asked[place].prompt),),
            first=candidates[pair.a].text,
            second=candidates[pair.b].text,
            reference=asked[place].reference,
        )
        for number, (place, pair, candidates) in enumerate(formed)
    ]
    verdicts = {one.pair: one for group in _JUDGES[judge.kind]().judge(judge, items) for one in group}
    return [
        resolve([VerdictRow(number, judge.name, 0, verdicts[number].probability, verdicts[number].failure)])
        for number in range(len(formed))
    ]


def _counts(table: NDArray[np.float64]) -> Counts:
    skill, first, second = np.nonzero(table.sum(axis=3))
    rows = table[skill, first, second]
    return Counts(skill, first, second, rows[:, 0], rows[:, 1], rows[:, 2])
