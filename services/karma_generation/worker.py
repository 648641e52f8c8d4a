"""Generation's process: wires the backends to the queues of the models it serves. Touches no store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from karma import plugins
from karma.config.environment import Environment
from karma.messages import Answer, GenerateItem, ModelSpec
from karma.plugins.protocols import Backend
from karma.queue.celery_app import queue_name
from karma.telemetry.logging import configure_logging
from karma.worker.connections import Connections
from karma.worker.process import Consumer, run
from karma.worker.stage import asking
from karma_generation.handlers import generate

#: Batches in progress at once where the model is elsewhere; its `concurrency` limits the calls.
REMOTE_THREADS = 8


def main(environment: Environment, models: Sequence[str], local: bool, silence_s: float) -> None:
    """Answer the batches of `models` until SIGTERM; `local`: the models run in this process."""
    configure_logging(environment.log_level, environment.log_format)
    connections = Connections.open(environment, silence_s)
    stages = [asking("generate", partial(generate, ask=ask), connections)]
    queues = tuple(queue_name("generate", model) for model in models)
    run(environment, Consumer("generation", queues, stages, 1 if local else REMOTE_THREADS), connections)


def ask(spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
    """The answers of a model, by its backend."""
    backend: Backend = plugins.instance("backends", spec.backend)
    return backend.answer(spec, items)
