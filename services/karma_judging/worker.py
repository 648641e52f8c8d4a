"""Judging's process: connects the judges to their queues. It has no store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from karma import plugins
from karma.config.environment import Environment
from karma.messages import JudgeItem, JudgeSpec, Verdict
from karma.plugins.protocols import Judge
from karma.worker.process import run_asking
from karma_judging.handlers import judge


def main(environment: Environment, judges: Sequence[str], local: bool, silence_s: float) -> None:
    """Judge the batches of `judges` until SIGTERM; `local` if the model of one runs in this process."""
    run_asking(environment, "judging", "judge", partial(judge, ask=ask), judges, local, silence_s)


def ask(spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
    """The verdicts of a judge, by its kind."""
    kind: Judge = plugins.instance("judges", spec.kind)
    return kind.judge(spec, items)
