"""Judging's process: connects the judges to their queues. It has no store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from karma import plugins
from karma.config.environment import Environment
from karma.messages import JudgeItem, JudgeSpec, Verdict
from karma.plugins.protocols import Judge
from karma.worker.process import run_asking
from karma.worker.served import Served
from karma_judging import template
from karma_judging.handlers import judge


def main(environment: Environment, served: Served[JudgeSpec]) -> None:
    """Judge the batches of the served judges until SIGTERM."""
    template.key_fences(environment.keyring())
    run_asking(environment, "judging", "judge", partial(judge, ask=ask), served)


def ask(spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
    """The verdicts of a judge, by its kind."""
    kind: Judge = plugins.instance("judges", spec.kind)
    return kind.judge(spec, items)
