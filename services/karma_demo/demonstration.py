"""The demo: the tiny family answers tasks, and afterwards the known answers say how good the result is.

Neither references nor accuracies reach the pipeline: prompts go in with a skill label and nothing else. They are held
against the result only when all is done.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from karma.checkers import checker
from karma.ranking.snapshot import OVERALL, Snapshot
from karma.store import Store
from karma.store.records import ExportFilter
from karma_demo.family import JUDGE, MEMBERS, accuracy, checkpoint_path
from karma_demo.tasks import Task, tasks
from karma_gateway.ingest import Line

STREAM = "demo"


@dataclass(frozen=True)
class Check:
    """How the pipeline's result compares with what is known."""

    judged: int  # decisive pairs with exactly one right response
    agreed: int  # of these, those whose chosen response is the right one
    spearman: float  # rank correlation of learnt overall competency with held-out accuracy

    @property
    def judge_accuracy(self) -> float:
        """Share of the decisive pairs with exactly one right response in which it was chosen."""
        return self.agreed / self.judged if self.judged else float("nan")


def demo_tasks(count: int, seed: int) -> list[Task]:
    """The tasks of the demo."""
    return tasks("demo", count, seed)


def lines(asked: list[Task]) -> list[Line]:
    """Tasks as the prompts that a user would enqueue: without their references."""
    return [
        Line("demo", number, json.dumps({"id": task.id, "prompt": task.prompt, "skill": task.skill}).encode())
        for number, task in enumerate(asked, start=1)
    ]


def pool_file() -> str:
    """The pool of the demo as TOML: every member answers, and a larger one that is not among them judges."""
    parts = [
        "# Written by `karma demo`: the tiny family, all in one process, and its likelihood judge.",
        "[pipeline]",
        "window = 160  # small, so that planning learns from the first verdicts",
        "plan_prompts = 64",
        "refit_every_s = 0.5",
        "",
        "[stream]",
        "responses_per_prompt = 3",
        "",
    ]
    for member in MEMBERS:
        parts += [
            f"[models.{member.name}]",
            'backend = "transformers"',
            f"model = {json.dumps(str(checkpoint_path(member.name)))}",
            'group = "family"',
            *([f'parent = "{member.parent}"'] if member.parent else []),
            "temperature = 0.7",
            "max_tokens = 48",
            "concurrency = 64",
            "",
        ]
    parts += [
        "[judges.likelihood]",
        'kind = "likelihood"',
        "scale = 0.1",
        "",
        "[judges.likelihood.model]",
        'backend = "transformers"',
        f"model = {json.dumps(str(checkpoint_path(JUDGE)))}",
        "concurrency = 64",
    ]
    return "\n".join(parts) + "\n"


def check(store: Store, snapshot: Snapshot, asked: list[Task]) -> Check:
    """Hold the preferences and the learnt competencies against the known answers and accuracies."""
    references = {task.id: task.reference for task in asked}
    is_right = checker("answer")
    judged = agreed = 0
    after = 0
    while True:
        with store.reading() as transaction:
            rows = transaction.preferences.export_rows(after, 500, ExportFilter(STREAM))
        if not rows:
            break
        after = rows[-1].id
        for row in rows:
            reference = references.get(row.prompt_id)
            if reference is None:
                continue
            chosen, rejected = is_right(row.chosen_text, reference), is_right(row.rejected_text, reference)
            judged += chosen != rejected
            agreed += chosen and not rejected
    known = accuracy()
    names = [member.name for member in MEMBERS]
    learnt = snapshot.vector("mean", names, OVERALL)
    return Check(judged, agreed, spearman(list(learnt), [known[name]["mean"] for name in names]))


def spearman(first: list[float], second: list[float]) -> float:
    """Spearman's rank correlation (1904); equal values share their mean rank."""

    def ranks(values: list[float]) -> np.ndarray:
        array = np.asarray(values)
        return np.array([((array < value).sum() + (array <= value).sum() - 1) / 2 for value in array])

    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])
