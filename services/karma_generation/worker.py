"""Generation's process: connects the backends to the queues of its models. It has no store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from karma import plugins
from karma.config.environment import Environment
from karma.messages import Answer, GenerateItem, ModelSpec
from karma.plugins.protocols import Backend
from karma.worker.process import run_asking
from karma.worker.served import Served
from karma_generation.handlers import generate


def main(environment: Environment, served: Served[ModelSpec]) -> None:
    """Answer the batches of the served models until SIGTERM."""
    run_asking(environment, "generation", "generate", partial(generate, ask=ask), served)


def ask(spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
    """The responses of a model, by its backend."""
    backend: Backend = plugins.instance("backends", spec.backend)
    return backend.answer(spec, items)
