"""Generation's process: connects the backends to the queues of its models. It has no store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from karma import plugins
from karma.config.environment import Environment
from karma.messages import Answer, GenerateItem, ModelSpec
from karma.plugins.protocols import Backend
from karma.worker.process import run_asking
from karma_generation.handlers import generate


def main(environment: Environment, models: Sequence[str], local: bool, silence_s: float) -> None:
    """Answer the batches of `models` until SIGTERM; `local` if a model runs in this process."""
    run_asking(environment, "generation", "generate", partial(generate, ask=ask), models, local, silence_s)


def ask(spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
    """The responses of a model, by its backend."""
    backend: Backend = plugins.instance("backends", spec.backend)
    return backend.answer(spec, items)
