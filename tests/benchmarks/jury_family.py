"""Juries of real models: members of the tiny family that judge by likelihood, on right answers against wrong ones.

Members answer tasks, the checker knows which of two answers is right, and every member judges. `graded` juries are any
three members that differ by two points of accuracy or more, the weakest of them three times, and a judge that always
says "first"; `close` is a jury whose good members are nearly alike. The best judge is chosen on the pairs that are not
labeled, so that it is not flattered by the choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from karma import plugins
from karma.messages import JudgeItem, JudgeSpec, Turn
from karma.ranking.jury import Jury
from karma_demo.family import EVERYONE, MEMBERS, checkpoint_path
from karma_demo.tasks import tasks
from karma_judging.judges.likelihood import LikelihoodJudge
from karma_scoring.fit.likelihood import Array, Indices
from tests.benchmarks.family_stream import answers, spec_of
from tests.benchmarks.finding import Finding
from tests.benchmarks.simulated_jury import Drawn, weights_of

_SEED = 12  # of tasks, answers and juries: other ones than the estimator was chosen on (11)
_TASKS = 1_500
_PAIRS_PER_TASK = 4
_JURIES = 40
#: (pairs that are labeled together, times)
_BLOCKS = ((200, 12), (1_000, 5))
_APART = 0.02  # accuracy between two judges of a graded jury
_BETTER_THAN_CHANCE = 0.6
#: Nats a token that count as one logit: as judges are by default, and so few that nearly every verdict is sure.
_SCALES = {"as they are": 1.0, "made hard": 0.001}
#: Judge → its model and scale.
_CLOSE = {
    "trained longer, soft": ("judge", 3.0),
    "large, soft": ("generalist-large", 3.0),
    "novice": ("novice", 0.02),
    "novice again": ("novice", 0.01),
    "novice continued": ("novice-continued", 0.02),
}
_FIRST = "first"


@dataclass(frozen=True, eq=False)
class Judged:
    """Pairs of a right and a wrong answer, with the log-odds of every member as a judge."""

    truth: Array  # [n] 1: response a is right, −1: b
    prompt: Indices  # [n]
    logits: Mapping[str, Array]  # judge → [n] for a

    def accuracy(self, judge: str) -> float:
        """The share of pairs on which it prefers the right answer."""
        return float(np.mean((1.0 + np.sign(self.logits[judge]) * self.truth) / 2.0))

    def blocks(self, pairs: int, most: int) -> Iterator[Indices]:
        """Disjoint sets of pairs, whole prompts each, the prompts in an order of chance."""
        order = np.random.default_rng(0).permutation(np.unique(self.prompt))
        place = np.argsort(order)[np.searchsorted(np.sort(order), self.prompt)]
        rows = np.argsort(place, kind="stable")
        for start in range(min(most, len(rows) // pairs)):
            yield rows[start * pairs : (start + 1) * pairs]

    def drawn(self, jury: Mapping[str, tuple[str, float]], rows: Indices) -> Drawn:
        """The verdicts of judges, each a model and a scale, on some pairs; `first` names what is shown first."""
        number, shown = len(rows), np.random.default_rng(1).integers(2, size=len(rows))
        columns, orders = [], []
        for model, scale in jury.values():
            is_first = model == _FIRST
            logit = np.full(number, 50.0) if is_first else np.clip(self.logits[model][rows] / scale, -50.0, 50.0)
            columns.append(1.0 / (1.0 + np.exp(-logit)))
            orders.append(shown if is_first else np.zeros(number, dtype=np.int64))
        return Drawn(
            tuple(jury),
            self.truth[rows],
            np.tile(np.arange(number), len(jury)),
            np.repeat(np.arange(len(jury)), number),
            np.concatenate(orders),
            np.concatenate(columns),
            np.zeros(number),
        )


def family(tasks_: int = _TASKS) -> list[Finding]:
    """Labels by the weights against those by the mean and by the best single judge."""
    judged = judged_pairs(tasks_)
    return [*_graded(judged), *_close(judged)]


def graded_juries(judged: Judged) -> list[tuple[str, str, str]]:
    """All juries of three members that differ by two points of accuracy or more, the best first, in drawn order."""
    triples = [sorted(three, key=judged.accuracy, reverse=True) for three in combinations(judged.logits, 3)]
    apart = [
        (strong, middle, weak)
        for strong, middle, weak in triples
        if judged.accuracy(strong) - judged.accuracy(middle) >= _APART
        and judged.accuracy(middle) - judged.accuracy(weak) >= _APART
    ]
    return [apart[index] for index in np.random.default_rng(_SEED).permutation(len(apart)).tolist()]


def is_better_than_chance(judged: Judged, judge: str) -> bool:
    """Whether a judge is no mere guess."""
    return judged.accuracy(judge) >= _BETTER_THAN_CHANCE


def with_copies(jury: tuple[str, str, str], scale: float = 1.0) -> dict[str, tuple[str, float]]:
    """The judges of a graded jury: the three, two copies of the weakest, and one that always says "first"."""
    strong, middle, weak = jury
    models = {strong: strong, middle: middle, weak: weak, "copy 1": weak, "copy 2": weak}
    return {**{name: (model, scale) for name, model in models.items()}, _FIRST: (_FIRST, 1.0)}


def _graded(judged: Judged) -> list[Finding]:
    found = []
    juries = graded_juries(judged)[:_JURIES]
    for kind, scale in _SCALES.items():
        for pairs, times in _BLOCKS:
            blocks = list(judged.blocks(pairs, times))
            rows: dict[str, list[list[list[float]]]] = {"all above chance": [], "the weakest near chance": []}
            for jury in juries:
                judges = with_copies(jury, scale)
                name = "all above chance" if is_better_than_chance(judged, jury[2]) else "the weakest near chance"
                rows[name].append([compared(judged, judges, block) for block in blocks])
            for name, given in rows.items():
                if not given or not blocks:
                    continue
                what = f"{len(given)} graded juries {kind}, {name}, {pairs:,} pairs"
                found += _of_blocks(what, np.array(given))
    return found


def compared(judged: Judged, jury: Mapping[str, tuple[str, float]], rows: Indices) -> list[float]:
    """Points beyond the best judge by the weights and by the mean; beyond the best in hindsight; weight of `first`."""
    drawn = judged.drawn(jury, rows)
    rest = np.setdiff1d(np.arange(len(judged.truth)), rows)
    alone = drawn.right_alone().mean(axis=0)
    best = alone[int(np.argmax(judged.drawn(jury, rest).right_alone().mean(axis=0)))]
    weights = weights_of(drawn)
    weighed, mean = drawn.right(Jury(weights)), drawn.right(None)
    first = weights[_FIRST].weight if _FIRST in weights else 0.0
    return [100.0 * (weighed - best), 100.0 * (mean - best), 100.0 * (weighed - float(alone.max())), first]


def _of_blocks(what: str, points: Array) -> list[Finding]:
    """Findings of [juries, blocks, 4]; errors are those of the mean over blocks, which share no prompt."""

    def finding(name: str, values: Array, true: float) -> Finding:
        by_block = values.mean(axis=0)
        error = float(np.std(by_block, ddof=1) / np.sqrt(len(by_block))) if len(by_block) > 1 else 0.0
        return Finding("family", f"{what}: {name}", float(by_block.mean()), true, error)

    return [
        finding("weighed − best judge, points", points[:, :, 0], 0.0),
        finding("mean − best judge, points", points[:, :, 1], 0.0),
        finding("weighed − best with hindsight, points", points[:, :, 2], 0.0),
        finding("juries within 1 point", (points[:, :, 0] >= -1.0).astype(np.float64), 1.0),
        Finding("family", f"{what}: worst jury, points", float(points[:, :, 0].mean(axis=1).min()), 0.0, 0.0),
        Finding("family", f"{what}: largest weight of first", float(points[:, :, 3].max()), 0.0, 0.0),
    ]


def _close(judged: Judged) -> list[Finding]:
    """Good judges that agree nearly always, beside a poor one that sits there twice; and with references."""
    found = []
    for pairs, times in _BLOCKS:
        for name, share in (("no reference", 0), ("a quarter with one", 4)):
            points = []
            for rows in judged.blocks(pairs, times):
                drawn = judged.drawn(_CLOSE, rows)
                if share:
                    drawn = replace(drawn, reference=np.where(np.arange(pairs) % share == 0, drawn.truth, 0.0))
                best = float(np.mean((1.0 + np.sign(judged.logits["judge"][rows]) * drawn.truth) / 2.0))
                jury = Jury(weights_of(drawn))
                points.append([100.0 * (drawn.right(each) - best) for each in (jury, None)])
            if not points:
                continue
            error = np.std(points, axis=0, ddof=1) / np.sqrt(len(points)) if len(points) > 1 else np.zeros(2)
            what = f"the close jury, {pairs:,} pairs, {name}"
            for column, label in enumerate(("weighed", "mean")):
                value = float(np.mean(points, axis=0)[column])
                text = f"{what}: {label} − best judge, points"
                found.append(Finding("family", text, value, 0.0, float(error[column])))
    return found


def judged_pairs(number: int) -> Judged:
    """The pairs of so many tasks, judged by every member."""
    asked = tasks("demo", number, _SEED)
    names = [member.name for member in MEMBERS]
    given = answers({name: checkpoint_path(name) for name in names}, asked, 1.0, 1, _SEED)
    is_right, rng = plugins.checker("answer"), np.random.default_rng(_SEED)
    items: list[JudgeItem] = []
    truth, prompt = [], []
    for place, task in enumerate(asked):
        texts = [text for name in names if (text := given[name, 0][place]) is not None]
        right = [text for text in texts if is_right(text, task.reference)]
        wrong = [text for text in texts if not is_right(text, task.reference)]
        both = [(one, other) for one in right for other in wrong]
        for index in rng.permutation(len(both))[:_PAIRS_PER_TASK].tolist():
            is_first = rng.random() < 0.5
            first, second = both[index] if is_first else both[index][::-1]
            truth.append(1.0 if is_first else -1.0)
            prompt.append(place)
            row, chat = len(items), (Turn("user", task.prompt),)
            items.append(
                JudgeItem(item=row, pair=row, prompt=place, order=0, seed=0, messages=chat, first=first, second=second)
            )
    logits = {member.name: _logits(member.name, items) for member in EVERYONE}
    return Judged(np.array(truth), np.array(prompt, dtype=np.int64), logits)


def _logits(name: str, items: Sequence[JudgeItem]) -> Array:
    spec = JudgeSpec(name=name, kind="likelihood", both_orders=False, model=spec_of(name, checkpoint_path(name), 0.0))
    said = {one.item: one.probability for group in LikelihoodJudge().judge(spec, items) for one in group}
    p = np.clip(np.array([said[item.item] for item in items], dtype=np.float64), 1e-16, 1.0 - 1e-16)
    logits: Array = np.log(p) - np.log1p(-p)
    return logits
