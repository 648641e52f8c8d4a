"""Plug-ins that do what careless code does with what it was given: log it, warn of it, raise it, die of it."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from karma.messages import Answer, GenerateItem, JudgeItem, JudgeSpec, ModelSpec, Verdict

log = logging.getLogger(__name__)


def leak(text: str) -> None:
    """Let a text out in every way but one: the process goes on."""
    log.debug("about to work on %s", text)
    log.error("cannot work on %s", text)
    log.error(f"cannot work on {text}")
    log.error("%d", text)
    warnings.warn(text, stacklevel=1)


class LeakyBackend:
    """Fails with what it was asked; where `mortal` stands in it, the process dies."""

    def answer(self, spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
        for item in items:
            text = item.messages[-1].content
            leak(text)
            if "mortal" in text:
                os._exit(137)
        raise ValueError(text)


class LeakyJudge:
    """Fails with what it was shown, having caught another error of the kind."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        leak(items[0].first)
        try:
            {}[items[0].first]  # type: ignore[misc]
        except KeyError as cause:
            raise RuntimeError(items[0].second) from cause
        yield []


class LeakyPolicy:
    """Fails with the responses to choose from."""

    name = "leaky"

    def choose(self, pool: Any, count: int, rng: Any) -> tuple[list[Any], str]:
        raise RuntimeError([candidate.text for candidate in pool.candidates])


PLUGINS = {
    "karma.backends": {"leaky": LeakyBackend},
    "karma.judges": {"leaky": LeakyJudge},
    "karma.policies": {"leaky": LeakyPolicy()},
}
