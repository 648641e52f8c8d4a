"""Generation's process: wires the backends to the queues of the models it serves. Touches no store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from karma import plugins
from karma.link import Link
from karma.logs import configure_logging
from karma.messages import Answer, GenerateBatch, GenerateItem, ModelSpec, ScoreBatch
from karma.queues import queue_name
from karma.settings import Environment
from karma.stage import asking
from karma.worker import Consumer, run
from karma_generation.backends import BACKENDS, Backend
from karma_generation.handlers import generate

#: Batches under way at once where the model is elsewhere; its `concurrency` limits the calls.
REMOTE_THREADS = 8


def main(environment: Environment, models: Sequence[str], local: bool, silence_s: float) -> None:
    """Answer the batches of `models` until SIGTERM; `local`: the models run in this process."""
    configure_logging(environment.log_level, environment.log_format)
    link = Link.open(environment, silence_s)
    backends: dict[str, Backend] = {}

    def ask(spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
        if spec.backend not in backends:
            backends[spec.backend] = plugins.find("backends", spec.backend, BACKENDS)()
        return backends[spec.backend].answer(spec, items)

    def handle(batch: GenerateBatch) -> Iterator[ScoreBatch]:
        return generate(batch, ask)

    stages = [asking("generate", handle, link)]
    queues = tuple(queue_name("generate", model) for model in models)
    run(environment, Consumer("generation", queues, stages, 1 if local else REMOTE_THREADS), link)
