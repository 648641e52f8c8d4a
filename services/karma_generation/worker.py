"""Generation's process: wires the backends to the queues of the models it serves. Touches no store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from karma import plugins
from karma.broker import Publisher, queue_name
from karma.messages import Answer, GenerateBatch, GenerateItem, ModelSpec, ScoreBatch
from karma.settings import Environment
from karma.stage import Stage, asking
from karma.worker import Consumer, configure_logging, open_broker, run
from karma_generation.backends import BACKENDS, Backend
from karma_generation.handlers import generate

#: Batches under way at once where the model is elsewhere; its `concurrency` limits the calls.
REMOTE_THREADS = 8


def main(environment: Environment, models: Sequence[str], local: bool) -> None:
    """Answer the batches of `models` until SIGTERM; `local`: the models run in this process."""
    configure_logging(environment.log_level)
    app, redis, claims = open_broker(environment)
    backends: dict[str, Backend] = {}

    def ask(spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
        if spec.backend not in backends:
            backends[spec.backend] = plugins.find("backends", spec.backend, BACKENDS)()
        return backends[spec.backend].answer(spec, items)

    def handle(batch: GenerateBatch) -> Iterator[ScoreBatch]:
        return generate(batch, ask)

    stages = {"generate": Stage("generate", claims, asking(handle, Publisher(app), redis))}
    queues = tuple(queue_name("generate", model) for model in models)
    run(environment, Consumer("generation", queues, stages, 1 if local else REMOTE_THREADS), app, redis, claims)
