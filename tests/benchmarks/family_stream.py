"""A stream of the tiny family in one process: planned, answered, paired, judged and learned from by the product's code.

Only the transport is missing. Every stream starts cold and learns from its own verdicts alone. A stream with `label_at`
(goal `train`) passes the product's gate: pairs that it is sure of are labeled by prediction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from karma.config.settings import StreamSettings
from karma.llm.transformers import LocalModel
from karma.messages import JudgeItem, JudgeSpec, ModelSpec, Turn
from karma.policies.candidates import Candidate
from karma.ranking.snapshot import Snapshot
from karma.ranking.verdict_weights import PromptWeight
from karma.seeds import seed_of
from karma.store.records import Count, VerdictRow
from karma.verdicts import Outcome, Resolution, resolve
from karma_demo.family import MEMBERS, checkpoint_path
from karma_demo.tasks import SKILLS, Task
from karma_gateway.planning import PlannedPrompt, plan
from karma_judging.judges.likelihood import LikelihoodJudge
from karma_judging.judges.verifier import VerifierJudge
from karma_matching.budget.allocation import Decision
from karma_matching.pairing import FormedPair, form
from karma_scoring.features import features
from karma_scoring.fit.competency import Counts, Posterior, Prior
from karma_scoring.fit.evidence import evidence
from karma_scoring.fit.kinship import snapshot
from karma_scoring.fit.prior_scale import fit_with_learned_scale
from tests.benchmarks.family_gate import FamilyGate

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
    """A pair with a verdict, which cost one judge call, or with a predicted label.

    `chosen` and `rejected` are texts; both are empty where no side was taken.
    """

    prompt: int  # place in the list of tasks
    outcome: Outcome
    chosen: str = ""
    rejected: str = ""
    source: Literal["judge", "predicted"] = "judge"
    error: Literal["", "wrong", "tied"] = ""  # of a predicted label: what the judge would have said instead
    probability: float = 1.0  # that the chosen one is better: of the verdicts, or as predicted if decisive


@dataclass(frozen=True)
class Stream:
    """What a stream came to: its judged and labeled pairs in the order of their prompts, and what was spent."""

    pairs: Sequence[JudgedPair]
    prompts: int
    generations: int

    @property
    def calls(self) -> int:
        """Judge calls."""
        return sum(pair.source == "judge" for pair in self.pairs)

    def until(self, calls: int) -> Sequence[JudgedPair]:
        """The pairs up to the one that cost the last of so many judge calls."""
        paid = [place for place, pair in enumerate(self.pairs) if pair.source == "judge"][:calls]
        return self.pairs[: paid[-1] + 1] if paid else []


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

    A stream that labels by prediction may have spent fewer when the tasks end.

    Raises:
        ValueError: there are too few tasks for that, and every pair is judged.
    """
    models = sorted({model for model, _sample in given})
    pairs: list[JudgedPair] = []
    counts = np.zeros((len(SKILLS), len(models), len(models), 4))  # wins of the first, of the second, ties, squares
    posterior: Posterior | None = None
    gate = FamilyGate(settings) if settings.label_at is not None else None
    known = Snapshot.empty(models, SKILLS)
    start = generations = spent = 0
    while start < prompts or spent < calls:
        batch = range(start, min(start + _PLANNED_AT_ONCE, len(asked)))
        if not batch and gate is not None and start >= prompts:
            break
        if not batch:
            raise ValueError(f"{len(asked)} tasks gave {spent} pairs to judge, fewer than {calls}: give more tasks")
        formed, asked_for = _formed(batch, asked, given, models, settings, known)
        generations += asked_for
        decided: dict[tuple[int, int, int], tuple[Decision, float]] = {}
        for (place, pair, candidates), found in zip(formed, _judged(formed, asked, judge), strict=True):
            a, b = candidates[pair.a], candidates[pair.b]
            task, weight, square = asked[place], 1.0, 1.0
            if gate is not None:
                if (place, pair.a, pair.b) not in decided:
                    pairs_of = [each for number, each, _ in formed if number == place]
                    both = gate.decide(task, pairs_of, candidates, known)
                    decided |= {(place, each.a, each.b): one for each, one in zip(pairs_of, both, strict=True)}
                decision, win = decided[place, pair.a, pair.b]
                if not decision.judged:
                    if decision.sure:
                        pairs.append(_labeled(place, a.text, b.text, win, found))
                    continue
                gate.record(place, task, pair, candidates, found)
                weight, square = PromptWeight().selected_by_competency()
            spent += 1
            pairs.append(_with_verdict(place, a.text, b.text, found))
            if found.outcome != "unscored":
                column = 2 if found.outcome != "decisive" else 0 if found.a_is_chosen else 1
                cell = counts[SKILLS.index(task.skill), models.index(a.model), models.index(b.model)]
                cell[column] += weight
                cell[3] += square
        posterior = fit_with_learned_scale(_counts(counts, models), models, SKILLS, Prior(parents=_PARENTS), posterior)
        known = snapshot(posterior, known.version + 1)
        if gate is not None:
            known = gate.learn(known)
        start = batch.stop
    return Stream(pairs, start, generations)


def _with_verdict(place: int, a: str, b: str, found: Resolution) -> JudgedPair:
    if found.outcome != "decisive":
        return JudgedPair(place, found.outcome)
    sides = (a, b) if found.a_is_chosen else (b, a)
    probability = found.probability if found.probability is not None else 1.0
    return JudgedPair(place, found.outcome, *sides, probability=max(probability, 1.0 - probability))


def _labeled(place: int, a: str, b: str, win: float, true: Resolution) -> JudgedPair:
    a_wins = win > 0.5
    chosen, rejected = (a, b) if a_wins else (b, a)
    decisive = true.outcome == "decisive"
    error: Literal["", "wrong", "tied"] = "tied" if not decisive else "wrong" if true.a_is_chosen != a_wins else ""
    return JudgedPair(place, "decisive", chosen, rejected, "predicted", error, max(win, 1.0 - win))


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


def _counts(table: NDArray[np.float64], models: Sequence[str]) -> Counts:
    """The counts weighted as in a refit: by effective sample size."""
    rows = []
    for skill, first, second in zip(*np.nonzero(table.any(axis=3)), strict=True):
        a, b, cell = models[first], models[second], table[skill, first, second].tolist()
        if a > b:
            a, b, cell = b, a, [cell[1], cell[0], *cell[2:]]
        rows.append(Count("judge", SKILLS[skill], a, b, 0, *cell))
    found = evidence(rows, models, 0.0, 720.0)
    skills = np.array([SKILLS.index(skill) for skill in found.skills], dtype=np.int64)
    return replace(found.counts, skill=skills[found.counts.skill], weight=None)
