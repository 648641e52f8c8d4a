"""Messages of version 1 and their upcasters: unsigned, and with the whole specification of the model or judge.

They are read only where no signing key is set. Whatever such a message says about an address or a key is not used: its
specification has no fingerprint, so that the work is asked for again in today's form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from karma.messages import (
    Answer,
    Batch,
    GenerateBatch,
    GenerateItem,
    Header,
    JudgeBatch,
    JudgeItem,
    LearnBatch,
    MatchBatch,
    MatchItem,
    Name,
    ScoreBatch,
    Verdict,
)

_Items = Meta(max_length=4_096)


class Named(msgspec.Struct, frozen=True):
    """A model's or judge's specification, of which only the name is read."""

    name: Name


class GenerateV1(msgspec.Struct, frozen=True, kw_only=True, tag_field="message", tag="generate.v1"):
    """`GenerateBatch` with its model's specification."""

    header: Header
    model: Named
    items: Annotated[tuple[GenerateItem, ...], _Items]


class ScoreV1(msgspec.Struct, frozen=True, kw_only=True, tag_field="message", tag="score.v1"):
    """`ScoreBatch`."""

    header: Header
    items: Annotated[tuple[Answer, ...], _Items]


class MatchV1(msgspec.Struct, frozen=True, kw_only=True, tag_field="message", tag="match.v1"):
    """`MatchBatch`."""

    header: Header
    items: Annotated[tuple[MatchItem, ...], _Items]


class JudgeV1(msgspec.Struct, frozen=True, kw_only=True, tag_field="message", tag="judge.v1"):
    """`JudgeBatch` with its judge's specification."""

    header: Header
    judge: Named
    items: Annotated[tuple[JudgeItem, ...], _Items]


class LearnV1(msgspec.Struct, frozen=True, kw_only=True, tag_field="message", tag="learn.v1"):
    """`LearnBatch`."""

    header: Header
    items: Annotated[tuple[Verdict, ...], _Items]


OldBatch = GenerateV1 | ScoreV1 | MatchV1 | JudgeV1 | LearnV1

UPCASTERS: Final[dict[type, Callable[[Any], Batch]]] = {
    GenerateV1: lambda old: GenerateBatch(header=old.header, model=old.model.name, specification="", items=old.items),
    ScoreV1: lambda old: ScoreBatch(header=old.header, items=old.items),
    MatchV1: lambda old: MatchBatch(header=old.header, items=old.items),
    JudgeV1: lambda old: JudgeBatch(header=old.header, judge=old.judge.name, specification="", items=old.items),
    LearnV1: lambda old: LearnBatch(header=old.header, items=old.items),
}
