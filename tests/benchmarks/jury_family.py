"""A jury of real models: members of the tiny family that judge by likelihood, on right answers against wrong ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from karma import plugins
from karma.messages import JudgeItem, JudgeSpec, Turn
from karma.ranking.jury import Jury
from karma_demo.family import checkpoint_path
from karma_demo.tasks import tasks
from karma_judging.judges.likelihood import LikelihoodJudge
from tests.benchmarks.family_stream import answers, spec_of
from tests.benchmarks.finding import Finding
from tests.benchmarks.simulated_jury import Drawn, weights_of

_TASKS = 800
_ANSWERED_BY = ("generalist-small", "novice")
#: Judge → its model, and the nats a token that count as one logit: the same model may be soft or nearly hard.
_JUDGES = {
    "trained longer, soft": ("judge", 3.0),
    "large, soft": ("generalist-large", 3.0),
    "novice": ("novice", 0.02),
    "novice again": ("novice", 0.01),
    "novice continued": ("novice-continued", 0.02),
}


def family(tasks_: int = _TASKS) -> list[Finding]:
    """Labels by the weights against those by the mean and by the best single judge; the checker knows the truth."""
    alone = _drawn(tasks_)
    told = np.where(np.arange(len(alone.truth)) % 4 == 0, alone.truth, 0.0)
    found = []
    for name, drawn in (("no reference", alone), ("a quarter with one", replace(alone, reference=told))):
        weights, best, error = weights_of(drawn), drawn.best(), (0.25 / len(drawn.truth)) ** 0.5
        what = f"{len(drawn.truth)} pairs, {name}"
        found.append(Finding("family", f"{what}: labels right, weighed", drawn.right(Jury(weights)), best, error))
        found.append(Finding("family", f"{what}: labels right, mean", drawn.right(None), best, error))
        for column, judge in enumerate(drawn.names):
            right = float(np.mean((1.0 + np.sign(drawn.votes.logit[:, column]) * drawn.truth) / 2.0))
            known = weights[judge]
            found.append(Finding("family", f"{what}: weight of {judge}", known.weight, 0.0, 0.0))
            found.append(Finding("family", f"{what}: accuracy of {judge}", known.accuracy or 0.0, right, error))
    return found


def _drawn(number: int) -> Drawn:
    asked = tasks("demo", number, 11)
    given = answers({name: checkpoint_path(name) for name in _ANSWERED_BY}, asked, 1.0, 1, 11)
    is_right = plugins.checker("answer")
    items, truth = [], []
    for place, task in enumerate(asked):
        first, second = (given[model, 0][place] for model in _ANSWERED_BY)
        if first is None or second is None:
            continue
        sides = [bool(is_right(text, task.reference)) for text in (first, second)]
        if sides[0] != sides[1]:
            truth.append(1.0 if sides[0] else -1.0)
            messages = (Turn("user", task.prompt),)
            number_, texts = len(items), {"first": first, "second": second}
            items.append(
                JudgeItem(item=number_, pair=number_, prompt=place, order=0, seed=0, messages=messages, **texts)
            )
    columns = [
        [one.probability for group in LikelihoodJudge().judge(_spec(name, model, scale), items) for one in group]
        for name, (model, scale) in _JUDGES.items()
    ]
    pairs, judges = len(items), len(columns)
    return Drawn(
        tuple(_JUDGES),
        np.array(truth),
        np.tile(np.arange(pairs), judges),
        np.repeat(np.arange(judges), pairs),
        np.zeros(pairs * judges, dtype=np.int64),
        np.array(columns, dtype=np.float64).reshape(-1),
        np.zeros(pairs),
    )


def _spec(name: str, model: str, scale: float) -> JudgeSpec:
    return JudgeSpec(
        name=name,
        kind="likelihood",
        both_orders=False,
        scale=scale,
        model=spec_of(name, checkpoint_path(model), 0.0),
    )
