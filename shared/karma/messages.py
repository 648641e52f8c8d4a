"""The messages between the services: the only contract they share.

Every message is a frozen structure, JSON on the wire, never pickle. The tag of a message (field `message`) names its
kind and version (`generate.v1`). A field added with a default keeps the version; any other change is a new class with
a new tag, and the old class stays readable for ever through an upcaster in `UPCASTERS`. One example file a version
lies in `tests/contracts/`.

A message carries a batch of items. Items are joined by `item` (the open work it answers) and never by their order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from karma.errors import MessageError

Role = Literal["system", "user", "assistant"]


class Turn(msgspec.Struct, frozen=True):
    """One turn of a chat."""

    role: Role
    content: str


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a worker must know to ask a model. The same fields stand in `pool.toml` under `[models.NAME]`.

    Secrets are never here: `api_key_env` is the *name* of an environment variable of the worker.
    """

    name: str
    backend: str  # `openai`, `transformers`, or the name of a plug-in
    model: str  # the endpoint's model name, or a folder or hub name of a checkpoint
    base_url: str | None = None  # of an OpenAI-compatible endpoint, with its `/v1`
    api_key_env: str | None = None
    system: str | None = None  # a system turn put before every prompt that has none
    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 512  # new tokens of one response, at most
    concurrency: int = 32  # calls under way at once (remote), sequences in one forward batch (local)
    timeout_s: float = 120.0  # of one attempt of one call
    max_retries: int = 5  # further attempts after 429, 5xx, a time-out or a dropped connection
    device: str = "auto"
    dtype: str = "auto"
    options: dict[str, Any] = {}  # passed on to the endpoint's body or to the plug-in as they are


class JudgeSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a worker must know to judge. The same fields stand in `pool.toml` under `[judges.NAME]`."""

    name: str
    kind: str  # `likelihood`, `verifier`, `openai`, `transformers`, `prior`, or the name of a plug-in
    model: ModelSpec | None = None  # of the judges that ask one
    both_orders: bool = True  # whether a verdict can depend on which response is shown first
    template: str = "pairwise"  # the judge template's name, for the judges that use one
    checker: str = "answer"  # of `verifier`
    scale: float = 1.0  # of `likelihood`: nats a token that count as one logit
    options: dict[str, Any] = {}


class GenerateItem(msgspec.Struct, frozen=True):
    """One response to be generated."""

    item: int
    prompt: int
    sample: int
    seed: int
    messages: tuple[Turn, ...]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one `GenerateItem`: a text, or a failure with its reason. Exactly one of the two is set."""

    item: int
    prompt: int
    model: str
    sample: int
    text: str | None = None
    failure: str | None = None
    finish_reason: str | None = None  # `stop` or `length`, as the endpoint says
    tokens_in: int | None = None
    tokens_out: int | None = None
    latency_s: float | None = None


class MatchItem(msgspec.Struct, frozen=True):
    """One prompt whose answers are in."""

    item: int
    prompt: int


class JudgeItem(msgspec.Struct, frozen=True, kw_only=True):
    """One pair to be judged in one order. `order` 0 shows the pair's response a first, 1 shows b first."""

    item: int
    pair: int
    prompt: int
    order: Literal[0, 1]
    seed: int
    messages: tuple[Turn, ...]
    first: str
    second: str
    reference: str | None = None
    prior: float | None = None  # P(the first is better) by the models' competencies alone


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one `JudgeItem`: the probability that the *first shown* is better, or a failure with its reason."""

    item: int
    pair: int
    prompt: int
    judge: str
    order: Literal[0, 1]
    template_hash: str = ""  # part of the judge's identity in the store; empty where it uses no template
    probability: float | None = None
    failure: str | None = None
    rationale: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    latency_s: float | None = None


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope: where a batch belongs and which attempt it is.

    `batch` is the ledger's name of this publication and `token` its secret: what a worker brings back under an old
    token may still fill an open item, but moves nothing else. `epoch` names the life of the Redis it was published to.
    """

    stream: str
    batch: str
    token: str
    priority: int = 0  # 0 to 9, higher first
    epoch: str = ""
    published_at: float = 0.0  # seconds since 1970
    part: int = 0  # results of one batch may come in several parts
    alone: bool = False  # a last attempt: whoever does it has nothing else in hand
    trace: dict[str, str] = {}  # W3C trace context
    signature: str = ""  # a place for a later HMAC


class GenerateBatch(msgspec.Struct, frozen=True, kw_only=True, tag_field="message", tag="generate.v1"):
    """gateway → generation, queue `generate.<model>`."""

    header: Header
    model: ModelSpec
    items: tuple[GenerateItem, ...]


class ScoreBatch(msgspec.Struct, frozen=True, kw_only=True, tag_field="message", tag="score.v1"):
    """generation (or the gateway, for given responses) → scoring, queue `score`."""

    header: Header
    items: tuple[Answer, ...]


class MatchBatch(msgspec.Struct, frozen=True, kw_only=True, tag_field="message", tag="match.v1"):
    """scoring → matching, queue `match`."""

    header: Header
    items: tuple[MatchItem, ...]


class JudgeBatch(msgspec.Struct, frozen=True, kw_only=True, tag_field="message", tag="judge.v1"):
    """matching → judging, queue `judge.<judge>`."""

    header: Header
    judge: JudgeSpec
    items: tuple[JudgeItem, ...]


class LearnBatch(msgspec.Struct, frozen=True, kw_only=True, tag_field="message", tag="learn.v1"):
    """judging → scoring, queue `learn`."""

    header: Header
    items: tuple[Verdict, ...]


Batch = GenerateBatch | ScoreBatch | MatchBatch | JudgeBatch | LearnBatch

#: Old message classes → the function that turns one into its successor. Empty while every message is at version 1.
UPCASTERS: dict[type, Callable[[Any], Batch]] = {}

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Batch] = msgspec.json.Decoder(Batch)

#: How errors of the decoder begin that go on with a part of the message, and with it maybe of a prompt.
_QUOTING = re.compile(r"(Invalid enum value|Object contains unknown field|Invalid value) .*( - at .*)", re.DOTALL)
_UNKNOWN_VERSION = re.compile(r"Invalid value '[a-z]{1,16}\.v[0-9]{1,4}' - at `\$\.message`")


def encode(batch: Batch) -> str:
    """The JSON text of a message."""
    return _encoder.encode(batch).decode()


def decode(text: str | bytes) -> Batch:
    """Read a message of any version.

    Raises:
        MessageError: the text is no message that this version of KARMA knows; says where it differs.
    """
    try:
        batch = _decoder.decode(text)
    except (msgspec.DecodeError, msgspec.ValidationError) as cause:
        raise MessageError(f"not a message KARMA can read: {_fault(str(cause))}") from cause
    upcast = UPCASTERS.get(type(batch))
    return upcast(batch) if upcast else batch


def _fault(said: str) -> str:
    """What is wrong with a message and where, without the part of it that the decoder quotes."""
    return said if _UNKNOWN_VERSION.fullmatch(said) else _QUOTING.sub(r"\1\2", said)
