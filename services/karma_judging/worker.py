"""Judging's process: wires the judges to their queues. Touches no store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from karma import plugins
from karma.config.environment import Environment
from karma.messages import JudgeItem, JudgeSpec, Verdict
from karma.plugins.protocols import Judge
from karma.queue.celery_app import queue_name
from karma.telemetry.logging import configure_logging
from karma.worker.connections import Connections
from karma.worker.process import Consumer, run
from karma.worker.stage import asking
from karma_judging.handlers import judge

#: Batches in progress at once where the judge's model is elsewhere; its `concurrency` limits the calls.
REMOTE_THREADS = 8


def main(environment: Environment, judges: Sequence[str], local: bool, silence_s: float) -> None:
    """Judge the batches of `judges` until SIGTERM; `local`: their models run in this process."""
    configure_logging(environment.log_level, environment.log_format)
    connections = Connections.open(environment, silence_s)
    stages = [asking("judge", partial(judge, ask=ask), connections)]
    queues = tuple(queue_name("judge", name) for name in judges)
    run(environment, Consumer("judging", queues, stages, 1 if local else REMOTE_THREADS), connections)


def ask(spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
    """The verdicts of a judge, by its kind."""
    asked: Judge = plugins.instance("judges", spec.kind)
    return asked.judge(spec, items)
