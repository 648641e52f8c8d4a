"""The demo's scenario: its tasks, its pool file, and the check of its results against the known answers.

The pipeline sees neither the reference answers nor the known accuracies: prompts carry a skill label and nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from karma.plugins import checker
from karma.ranking.snapshot import OVERALL, Snapshot
from karma.store import Store
from karma.store.export_filter import ExportFilter
from karma_demo.family import JUDGE, MEMBERS, accuracy, checkpoint_path
from karma_demo.tasks import Task, tasks
from karma_gateway.exports import rows
from karma_gateway.ingest import Line

STREAM = "demo"

_POOL_HEAD = """\
# Written by `karma demo`: the tiny family in one process, and its likelihood judge.
[stream]
goal = "train"  # what the data is for, and the default: judge what is not known, predict the other labels

[pipeline]
window = 160  # small, so that planning learns from the first verdicts
plan_prompts = 64
refit_every_s = 0.5
"""
_POOL_MODEL = """
[models.{name}]
backend = "transformers"
model = {folder}
group = "family"
temperature = 0.7
max_tokens = 48
on_length = "keep"  # a tiny model that does not end is wrong, and the judge may say so
concurrency = 64
"""
_POOL_JUDGE = """
[judges.likelihood]
kind = "likelihood"
scale = 0.1

[judges.likelihood.model]
backend = "transformers"
model = {folder}
concurrency = 64
"""


@dataclass(frozen=True)
class Labels:
    """How labels compare with the known answers."""

    checkable: int = 0  # of pairs with exactly one right response
    right: int = 0  # of these, labels whose chosen response is right

    @property
    def accuracy(self) -> float | None:
        """Share of the checkable labels that are right; None without one."""
        return self.right / self.checkable if self.checkable else None

    def __add__(self, other: Labels) -> Labels:
        return Labels(self.checkable + other.checkable, self.right + other.right)


@dataclass(frozen=True)
class Check:
    """How the pipeline's results compare with the known answers and accuracies."""

    judged: Labels
    predicted: Labels
    spearman: float  # rank correlation of fitted overall competency with held-out accuracy


def demo_tasks(count: int, seed: int) -> list[Task]:
    """The tasks of the demo."""
    return tasks("demo", count, seed)


def prompt_lines(demo_set: list[Task]) -> list[Line]:
    """The tasks as lines of a prompt file, without reference answers."""
    return [
        Line("demo", number, json.dumps({"id": task.id, "prompt": task.prompt, "skill": task.skill}).encode())
        for number, task in enumerate(demo_set, start=1)
    ]


def pool_file() -> str:
    """The pool file as TOML: all members answer, and a larger model, which is no member, judges."""
    text = _POOL_HEAD
    for member in MEMBERS:
        text += _POOL_MODEL.format(name=member.name, folder=json.dumps(str(checkpoint_path(member.name))))
        text += f'parent = "{member.parent}"\n' if member.parent else ""
    return text + _POOL_JUDGE.format(folder=json.dumps(str(checkpoint_path(JUDGE))))


def check(store: Store, snapshot: Snapshot, demo_set: list[Task]) -> Check:
    """Compare the exported labels with the reference answers, and the competencies with the known accuracies."""
    references = {task.id: task.reference for task in demo_set}
    is_right = checker("answer")
    labels: dict[str, Labels] = {"judge": Labels(), "predicted": Labels()}
    for row in rows(store, "jsonl", ExportFilter.usual(STREAM)):
        reference = references.get(row["karma"]["prompt_id"])
        if reference is not None:
            chosen, rejected = is_right(row["chosen"], reference), is_right(row["rejected"], reference)
            is_checkable = None not in (chosen, rejected) and chosen != rejected
            labels[row["karma"]["label_source"]] += Labels(is_checkable, is_checkable and chosen is True)
    known = accuracy()
    names = [member.name for member in MEMBERS]
    fitted = snapshot.vector("mean", names, OVERALL)
    return Check(labels["judge"], labels["predicted"], spearman(list(fitted), [known[name]["mean"] for name in names]))


def spearman(first: list[float], second: list[float]) -> float:
    """Spearman's rank correlation (1904); equal values share their mean rank."""

    def ranks(values: list[float]) -> np.ndarray:
        array = np.asarray(values)
        return np.array([((array < value).sum() + (array <= value).sum() - 1) / 2 for value in array])

    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])
