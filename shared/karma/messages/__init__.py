"""The messages between the services, their only shared contract.

Every message is a frozen structure, encoded as JSON, never pickled. Its tag (field `message`) is its kind and version
(`generate.v1`). A new field with a default keeps the version. Any other change is a new class with a new tag, and an
upcaster in `UPCASTERS` keeps the old class readable. `tests/contracts/` has an example file per version.

A message carries a batch of items. Results are matched to items by `item`, the id of the open work, never by order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from karma.errors import MessageError

Role = Literal["system", "user", "assistant", "developer", "tool"]


class ToolFunction(msgspec.Struct, frozen=True):
    """The function of a tool call, as in OpenAI's chat format."""

    name: str
    arguments: str  # JSON


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call that an assistant's turn makes, as in OpenAI's chat format."""

    id: str | None = None
    type: Literal["function"]  # no default: endpoints require it
    function: ToolFunction


class Turn(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn of a chat, as in OpenAI's chat format; fields that are not set are left out of its JSON."""

    role: Role
    content: str  # empty where an assistant's turn only calls tools
    name: str | None = None  # of the speaker, or of a tool
    tool_calls: tuple[ToolCall, ...] = ()  # of an assistant's turn
    tool_call_id: str | None = None  # the call that a tool's turn answers


def with_system(turns: Sequence[Turn], system: str | None) -> tuple[Turn, ...]:
    """The turns; `system` comes first unless they have instructions of their own (role system or developer)."""
    if system is None or any(turn.role in ("system", "developer") for turn in turns):
        return tuple(turns)
    return (Turn("system", system), *turns)


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a worker needs to call a model; the fields of `[models.NAME]` in `pool.toml`.

    It contains no secrets: `api_key_env` is the *name* of an environment variable of the worker.
    """

    name: str
    backend: str  # `openai`, `transformers`, or the name of a plug-in
    model: str  # the endpoint's model name, or a folder or hub name of a checkpoint
    base_url: str | None = None  # of an OpenAI-compatible endpoint, with its `/v1`
    api_key_env: str | None = None
    system: str | None = None  # a system turn for prompts without one
    # `default`: the setting is not sent, and the endpoint's or the checkpoint's own applies.
    temperature: float | Literal["default"] = 0.7
    top_p: float | Literal["default"] = 1.0
    max_tokens: int | Literal["default"] = 4096  # new tokens of one response, at most; reasoning counts
    seed: Literal["own", "default"] = "own"  # own: KARMA's seed of the item
    fields: dict[str, str] = {}  # setting → its name in the endpoint's body, for example max_completion_tokens
    on_length: Literal["fail", "keep"] = "fail"  # a response that was cut at a limit of tokens
    on_content_filter: Literal["fail", "keep"] = "fail"  # a response that a filter cut
    reasoning: Literal["separate", "keep"] = "separate"  # keep: it stays in the text
    concurrency: int = 32  # concurrent calls (remote), sequences in one forward batch (local)
    timeout_s: float = 300.0  # of one attempt of one call
    max_retries: int = 5  # after 408, 409, 425, 5xx, a timeout or a dropped connection; 0: one attempt whatever it says
    rate_limit_wait_s: float = 600.0  # most time that one call waits after 429, which uses up no retry
    device: str = "auto"
    dtype: str = "auto"
    options: dict[str, Any] = {}  # passed to the endpoint's body or to the plug-in unchanged


class JudgeSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a worker needs to judge; the fields of `[judges.NAME]` in `pool.toml`."""

    name: str
    kind: str  # `likelihood`, `verifier`, `openai`, `transformers`, `prior`, or the name of a plug-in
    model: ModelSpec | None = None  # of judges that use one
    both_orders: bool = True  # whether a verdict can depend on which response is shown first
    template: str = "pairwise"  # name of the judge template, for judges that use one
    checker: str = "answer"  # of `verifier`
    scale: float = 1.0  # of `likelihood`: nats per token that count as one logit
    options: dict[str, Any] = {}


class GenerateItem(msgspec.Struct, frozen=True):
    """One response to be generated."""

    item: int
    prompt: int
    sample: int
    seed: int
    messages: tuple[Turn, ...]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one `GenerateItem`: a text, or a failure with its reason. Exactly one of the two is set."""

    item: int
    prompt: int
    model: str
    sample: int
    text: str | None = None
    failure: str | None = None
    finish_reason: str | None = None  # by the endpoint: `stop`, `length`, `content_filter`, …
    tokens_in: int | None = None
    tokens_out: int | None = None
    latency_s: float | None = None
    reasoning: str | None = None  # the model's reasoning, apart from the answer
    dropped: tuple[str, ...] = ()  # settings that the endpoint refused and that were left out


#: Finish reasons of the providers, in lower case, of texts that did not end by themselves → what ended them.
UNFINISHED: Final[Mapping[str, Literal["length", "content_filter", "error"]]] = {
    **dict.fromkeys(
        ("length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"), "length"
    ),
    **dict.fromkeys(
        ("content_filter", "safety", "recitation", "blocklist", "prohibited_content", "spii"), "content_filter"
    ),
    **dict.fromkeys(("error", "abort", "malformed_function_call"), "error"),
}


class MatchItem(msgspec.Struct, frozen=True):
    """One prompt with all its responses."""

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
    prior: float | None = None  # P(the first shown is better) by the models' competencies alone


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one `JudgeItem`: P(the *first shown* is better), or a failure with its reason."""

    item: int
    pair: int
    prompt: int
    judge: str
    order: Literal[0, 1]
    template_hash: str = ""  # part of the judge's identity in the store; empty without a template
    probability: float | None = None
    failure: str | None = None
    rationale: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    latency_s: float | None = None
    note: str | None = None  # what was odd about a valid verdict


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope of a batch.

    `batch` is the ledger's id of this publication and `token` its secret. Results with an old token are recorded for
    open items, but change nothing else. `epoch` is the id of the Redis incarnation that it was published to.
    """

    stream: str
    batch: str
    token: str
    priority: int = 0  # 0 to 9, higher first
    epoch: str = ""
    published_at: float = 0.0  # seconds since 1970
    part: int = 0  # number of a part: a batch may have several parts of results
    alone: bool = False  # the final attempt: to be processed exclusively
    trace: dict[str, str] = {}  # W3C trace context
    signature: str = ""  # reserved for an HMAC


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

#: Old message class → upcaster to its successor. Empty while every message is at version 1.
UPCASTERS: dict[type, Callable[[Any], Batch]] = {}

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Batch] = msgspec.json.Decoder(Batch)

#: Errors of the decoder that quote a part of the message, possibly of a prompt.
_QUOTING = re.compile(r"(Invalid enum value|Object contains unknown field|Invalid value) .*( - at .*)", re.DOTALL)
_UNKNOWN_VERSION = re.compile(r"Invalid value '[a-z]{1,16}\.v[0-9]{1,4}' - at `\$\.message`")


def encode(batch: Batch) -> str:
    """The JSON text of a message."""
    return _encoder.encode(batch).decode()


def decode(text: str | bytes) -> Batch:
    """Read a message of any version.

    Raises:
        MessageError: the text is no message that this version of KARMA can read; the error has the location.
    """
    try:
        batch = _decoder.decode(text)
    except (msgspec.DecodeError, msgspec.ValidationError) as cause:
        raise MessageError(f"not a message KARMA can read: {_fault(str(cause))}") from cause
    upcast = UPCASTERS.get(type(batch))
    return upcast(batch) if upcast else batch


def _fault(error: str) -> str:
    """The fault of a message and its location, without the part of the message that the decoder quotes."""
    return error if _UNKNOWN_VERSION.fullmatch(error) else _QUOTING.sub(r"\1\2", error)
