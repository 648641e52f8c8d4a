"""A simulated stream of the goal `train`: pairs of posterior draws through the product's gate, learned from as in a
refit. For `audit_coverage`.

Several of a prompt's answers can be paired. What a prompt does to all its answers is its own: how much a logit of
competency counts in it, and how far each answer is from what its model usually gives.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from karma.config.goals import with_goal
from karma.config.settings import StreamSettings
from karma.config.tables import convert
from karma.ranking.davidson import tie_probability, win_given_decisive
from karma.ranking.label_error import Audited
from karma.ranking.label_model import PairSigns
from karma.ranking.snapshot import Snapshot
from karma.seeds import seed_of
from karma.store.records import Example
from karma_gateway.planning import PlannedPrompt, plan
from karma_matching.budget.decisions import sure_rule
from karma_matching.budget.gap_pairs import gap_pairs
from karma_matching.budget.sure_labels import SureRule, SureState, label_or_judge
from karma_scoring.fit.competency import Counts, Posterior, Prior
from karma_scoring.fit.kinship import snapshot
from karma_scoring.fit.predictions.label_fit import fit_labels, label_examples_of
from karma_scoring.fit.prior_scale import fit_with_learned_scale

Array = NDArray[np.float64]

MODELS = tuple(f"m{number}" for number in range(8))
SKILLS = ("s0", "s1", "s2", "s3")
_TIE = 0.3  # Davidson's ν of the simulated judge
_OWN_SKILL = 0.7  # standard deviation of a model's competency in a skill around its overall one, logits
_PLANNED_AT_ONCE = 64  # prompts between two refits; the demo's setting
_GROWTH = 0.05  # of verdicts between two fits of the label model, as in the refit


@dataclass(frozen=True)
class Kind:
    """What a stream is like."""

    spread: float  # standard deviation of the models' competencies, logits
    variance: float = 0.5  # of an answer's quality around its model's in the skill
    discrimination: float = 0.5  # standard deviation of the log of what a logit counts for in a prompt
    target: bool = False  # every pair holds the weakest model
    pairs: int = 1  # of a prompt, of twice as many answers


@dataclass(frozen=True)
class Label:
    """A pair that was sure, with the label that the gate gave or would have given."""

    prompt: int
    probability: float  # of being judged
    judged: bool
    stated: float  # P(a better | decisive)
    verdict: int  # of the judge, asked or not: 1, −1, or 0 for a tie

    @property
    def wrong(self) -> bool:
        """Whether prediction and verdict take different sides."""
        return (self.stated > 0.5) != (self.verdict > 0)

    @property
    def is_audit(self) -> bool:
        """Whether the audit learns from it: decisive audited pairs."""
        return self.judged and self.verdict != 0 and self.probability < 1.0

    @property
    def audited(self) -> Audited:
        """As the refit reads an audited pair."""
        return Audited(self.probability, self.wrong, self.prompt, self.stated)


@dataclass(eq=False)
class SureStream:
    """The state of the stream."""

    kind: Kind
    seed: int
    labels: list[Label] = field(default_factory=list)
    judged: int = 0
    pairs: int = 0
    examples: list[Example] = field(default_factory=list)  # judged pairs, oldest first

    def __post_init__(self) -> None:
        """An empty stream."""
        self._rng = np.random.default_rng([self.seed, 5])
        overall = self._rng.normal(0.0, self.kind.spread, len(MODELS))
        self._theta = overall + self._rng.normal(0.0, _OWN_SKILL, (len(SKILLS), len(MODELS)))
        target = {"target": MODELS[int(np.argmin(overall))]} if self.kind.target else {}
        settings = with_goal({"goal": "train", **target}, len(MODELS), ["openai"])
        self.settings: StreamSettings = convert(settings, StreamSettings)
        self._answers = max(self.settings.responses_per_prompt, 2 * self.kind.pairs)
        self._gate = SureState()
        self._known = Snapshot.empty(MODELS, SKILLS)
        self._posterior: Posterior | None = None
        self._counts = np.zeros((len(SKILLS), len(MODELS), len(MODELS), 3))
        self._fitted_at = 0.0

    def run(self, prompts: int) -> SureStream:
        """Plan, pair, judge or label, and learn."""
        skills = self._rng.integers(len(SKILLS), size=prompts)
        for start in range(0, prompts, _PLANNED_AT_ONCE):
            batch = range(start, min(prompts, start + _PLANNED_AT_ONCE))
            planned = plan(
                [PlannedPrompt(seed_of(self.seed, prompt), SKILLS[skills[prompt]]) for prompt in batch],
                MODELS,
                self.settings.policy,
                self._answers,
                self._known,
                self.settings.target,
                self.settings.explore_share,
            )
            for prompt, chosen in zip(batch, planned, strict=True):
                self._step(prompt, int(skills[prompt]), [MODELS.index(model) for model, _ in chosen])
            self._refit()
        return self

    def _step(self, prompt: int, skill: int, models: Sequence[int]) -> None:
        kind, draw = self.kind, self._rng
        quality = self._theta[skill, models] + draw.normal(0.0, np.sqrt(kind.variance), len(models))
        quality *= np.exp(draw.normal(0.0, kind.discrimination))
        first, second = self._paired(skill, models)
        gap = quality[first] - quality[second]
        uniform, tied = draw.random(len(gap)), tie_probability(gap, _TIE)
        won = uniform < tied + (1.0 - tied) * win_given_decisive(gap)
        verdicts = np.where(uniform < tied, 0, np.where(won, 1, -1)).tolist()
        names = [[MODELS[models[place]] for place in side.tolist()] for side in (first, second)]
        none = np.zeros(len(gap))  # these responses are numbers, and say nothing of themselves
        signs = PairSigns(likeness=none, agreement=none, support_a=none, support_b=none)
        predicted = gap_pairs(self._known, SKILLS[skill], names[0], names[1], signs)
        rule = sure_rule(self.settings, self._known)
        assert isinstance(rule, SureRule)
        rng = random.Random(f"gate {seed_of(self.seed, prompt)}")
        decisions, self._gate = label_or_judge(predicted, rule, self._gate, rng)
        judged = sum(decision.judged for decision in decisions)
        self.judged, self.pairs = self.judged + judged, self.pairs + len(decisions)
        for place, (decision, pair, verdict) in enumerate(zip(decisions, predicted, verdicts, strict=True)):
            if decision.sure:
                self.labels.append(Label(prompt, decision.probability, decision.judged, pair.win, verdict))
            if decision.judged:
                a, b = int(first[place]), int(second[place])
                self._learn(prompt, skill, (a, b), (models[a], models[b]), verdict)

    def _paired(self, skill: int, models: Sequence[int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The pairs with the widest gaps of competency, with the target first where there is one."""
        known = self._known.vector("mean", [MODELS[model] for model in models], SKILLS[skill])
        first, second = np.triu_indices(len(models), 1)
        if self.kind.target:
            first, second = first[first == 0], second[first == 0]
        widest = np.argsort(-np.abs(known[first] - known[second]), kind="stable")[: self.kind.pairs]
        return first[widest], second[widest]

    def _learn(self, prompt: int, skill: int, places: tuple[int, int], models: tuple[int, int], verdict: int) -> None:
        a, b = (10 * prompt + place for place in places)
        outcome, chosen = ("tie", None) if verdict == 0 else ("decisive", a if verdict > 0 else b)
        reasons = json.dumps({"likeness": 0.0, "agreement": 0.0, "support": [0.0, 0.0]})
        names = MODELS[models[0]], MODELS[models[1]]
        self.examples.append(Example(prompt, SKILLS[skill], a, b, *names, reasons, outcome, chosen))
        self._counts[skill, models[0], models[1], 2 if verdict == 0 else 0 if verdict > 0 else 1] += 1.0

    def _refit(self) -> None:
        skill, first, second = np.nonzero(self._counts.any(axis=3))
        wins, losses, ties = self._counts[skill, first, second].T
        counts = Counts(skill, first, second, wins, losses, ties)
        self._posterior = fit_with_learned_scale(counts, MODELS, SKILLS, Prior(), self._posterior)
        known = snapshot(self._posterior, self._known.version + 1)
        labels = self._known.labels
        if len(self.examples) >= self._fitted_at * (1 + _GROWTH):
            self._fitted_at = len(self.examples)
            labels = fit_labels(label_examples_of(self.examples[::-1], known, {}))
        self._known = replace(known, labels=labels)
