"""The messages between the services, their only shared contract.

Every message is a frozen structure, encoded as JSON, never pickled. Its tag (field `message`) is its kind and version
(`generate.v2`). A new field with a default keeps the version. Any other change is a new class with a new tag, and an
upcaster in `karma.messages.v1` keeps the old class readable. `tests/contracts/` has an example file per version.

A message carries a batch of items. Results are matched to items by `item`, the id of the open work, never by order.
It names the model or judge and the fingerprint of its specification, never an address or a key: the worker reads those
from its own pool file. Every field is bounded, so that no message holds more than a process can take. The signature is
around the text (`karma.messages.signing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

#: An id of the store: a positive number of 64 bits, as databases have them.
Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, lt=2**53)]
Sample = Annotated[int, Meta(ge=0, lt=2**15)]
#: A name of the pool file, a batch, or another identifier.
Name = Annotated[str, Meta(max_length=200)]
#: A reason or a note: a sentence.
Sentence = Annotated[str, Meta(max_length=4_000)]
#: The text of one turn or one response, characters.
Text = Annotated[str, Meta(max_length=1 << 24)]
_Items = Meta(max_length=4_096)

Role = Literal["system", "user", "assistant", "developer", "tool"]


class ToolFunction(msgspec.Struct, frozen=True):
    """The function of a tool call, as in OpenAI's chat format."""

    name: str
    arguments: Text  # JSON


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call that an assistant's turn makes, as in OpenAI's chat format."""

    id: str | None = None
    type: Literal["function"]  # no default: endpoints require it
    function: ToolFunction


class Turn(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn of a chat, as in OpenAI's chat format; fields that are not set are left out of its JSON."""

    role: Role
    content: Text  # empty where an assistant's turn only calls tools
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
    revision: str | None = None  # of a checkpoint on a hub: a commit, a tag or a branch; None: the newest
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
    # Concurrent calls of all workers (remote), sequences in one forward batch (local).
    concurrency: int = 32
    adaptive_concurrency: bool = False  # of a remote model: `concurrency` is where a limit begins that may rise
    requests_per_minute: float | None = None  # of all workers, to the endpoint
    tokens_per_minute: float | None = None  # the same, read and written
    timeout_s: float = 300.0  # of one attempt of one call
    max_retries: int = 5  # after 408, 409, 425, 5xx, a timeout or a dropped connection; 0: one attempt whatever it says
    rate_limit_wait_s: float = 600.0  # most time that one call waits after 429, which uses up no retry
    outage_wait_s: float = (
        86_400.0  # most time that one call waits for an endpoint that is down, which uses up no retry
    )
    batch: bool = False  # through the provider's jobs, at a discount, instead of call by call
    batch_requests: int = 10_000  # of one job, at most
    batch_wait_s: float = 10.0  # that requests wait for others, to be put into one job
    batch_poll_s: float = 60.0  # longest time between two looks at a job
    batch_discount: float = 0.5  # what a call through a job costs, as a share of its price
    device: str = "auto"
    dtype: str = "auto"
    batch_tokens: int | None = None  # of one forward batch of a local model, padding included; None: by free memory
    options: dict[str, Any] = {}  # passed to the endpoint's body or to the plug-in unchanged


class JudgeSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a worker needs to judge; the fields of `[judges.NAME]` in `pool.toml`."""

    name: str
    kind: str  # `likelihood`, `reward`, `verifier`, `openai`, `transformers`, `prior`, or the name of a plug-in
    model: ModelSpec | None = None  # of judges that use one
    both_orders: bool = True  # whether a verdict can depend on which response is shown first
    template: str = "pairwise"  # of judges that use one: name of a built-in judge template, or path of a template file
    template_text: str = ""  # of a template file: read with the pool file, or in it; empty for a built-in template
    criteria: dict[str, str] = {}  # that the template shows: name → what it means, or nothing
    checker: str = "answer"  # of `verifier`
    scale: float = 1.0  # what counts as one logit: of `likelihood` nats per token, of `reward` points of the score
    options: dict[str, Any] = {}


class GenerateItem(msgspec.Struct, frozen=True):
    """One response to be generated."""

    item: Id
    prompt: Id
    sample: Sample
    seed: int
    messages: Annotated[tuple[Turn, ...], _Items]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one `GenerateItem`: a text, or a failure with its reason. Exactly one of the two is set."""

    item: Id
    prompt: Id
    model: Name
    sample: Sample
    text: Text | None = None
    failure: Sentence | None = None
    finish_reason: Name | None = None  # by the endpoint: `stop`, `length`, `content_filter`, …
    tokens_in: Count | None = None
    tokens_out: Count | None = None
    latency_s: float | None = None
    reasoning: Text | None = None  # the model's reasoning, apart from the answer
    dropped: Annotated[tuple[Name, ...], Meta(max_length=64)] = ()  # settings that the endpoint refused: left out
    tokens_cached: Count | None = None  # of `tokens_in`: read from the endpoint's cache
    tokens_reasoning: Count | None = None  # of `tokens_out`: reasoning


#: Finish reasons of the providers, in lower case, of texts that did not end by themselves → what ended them.
UNFINISHED: Final[Mapping[str, Literal["length", "content_filter", "error"]]] = {
    **dict.fromkeys(
        (
            *("length", "max_tokens", "max_output_tokens", "max_completion_tokens", "max_new_tokens", "maximum_tokens"),
            *("max_length", "max_len", "max_context", "model_length", "token_limit", "output_limit", "length_limit"),
            *("model_context_window_exceeded", "context_length_exceeded", "context_window_exceeded", "context_length"),
            *("time_limit", "error_limit", "limit", "truncated", "truncated_final", "incomplete", "not_finished"),
            *("max_tokens_reached", "max_thinking_tokens", "repetition"),
        ),
        "length",
    ),
    **dict.fromkeys(
        (
            *("content_filter", "content_filtered", "filtered", "safety", "unsafe", "recitation", "language", "spii"),
            *("image_safety", "image_recitation", "image_prohibited_content", "prohibited_content", "model_armor"),
            *("blocklist", "blacklist", "blocked", "prompt_blocked", "moderation", "moderated", "flagged", "sensitive"),
            *("guardrail_intervened", "guardrail", "guardrails", "refusal", "error_toxic", "content_policy_violation"),
        ),
        "content_filter",
    ),
    **dict.fromkeys(
        (
            *("error", "abort", "aborted", "cancelled", "canceled", "cancel", "user_cancel", "interrupted", "failed"),
            *("timeout", "network_error", "internal_error", "server_error", "insufficient_system_resource"),
            *("malformed_function_call", "malformed_response", "malformed_model_output", "malformed_tool_use"),
            *("unexpected_tool_call", "too_many_tool_calls", "missing_thought_signature", "function_call_filter"),
            *("pause_turn", "in_progress"),
        ),
        "error",
    ),
}

#: What stands before such a name in enumerations: Gemini's, Yandex's, xAI's.
FINISH_PREFIXES: Final = ("finishreason.", "finish_reason_", "alternative_status_", "reason_")


class MatchItem(msgspec.Struct, frozen=True):
    """One prompt with all its responses."""

    item: Id
    prompt: Id


class JudgeItem(msgspec.Struct, frozen=True, kw_only=True):
    """One pair to be judged in one order. `order` 0 shows the pair's response a first, 1 shows b first."""

    item: Id
    pair: Id
    prompt: Id
    order: Literal[0, 1]
    seed: int
    messages: Annotated[tuple[Turn, ...], _Items]
    first: Text
    second: Text
    reference: Text | None = None
    prior: float | None = None  # P(the first shown is better) by the models' competencies alone
    given: float | None = None  # P(the first shown is better) by the verdict of this judge that came with the prompt


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one `JudgeItem`: P(the *first shown* is better), or a failure with its reason."""

    item: Id
    pair: Id
    prompt: Id
    judge: Name
    order: Literal[0, 1]
    template_hash: Name = ""  # part of the judge's identity in the store; empty without a template
    probability: float | None = None
    failure: Sentence | None = None
    rationale: Text | None = None
    tokens_in: Count | None = None
    tokens_out: Count | None = None
    latency_s: float | None = None
    note: Sentence | None = None  # what was odd about a valid verdict
    tokens_cached: Count | None = None  # of `tokens_in`: read from the endpoint's cache
    tokens_reasoning: Count | None = None  # of `tokens_out`: reasoning


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope of a batch.

    `batch` is the ledger's id of this publication and `token` the proof that the ledger opened it for this model or
    judge. `epoch` is the id of the Redis incarnation that it was published to. A result's stream and priority are those
    of the ledger, whatever its header says.
    """

    stream: Name
    batch: Annotated[str, Meta(pattern="^[A-Za-z0-9]{1,32}$")]
    token: Name
    priority: Annotated[int, Meta(ge=0, le=9)] = 0  # higher first
    epoch: Name = ""
    published_at: float = 0.0  # seconds since 1970
    part: Annotated[int, Meta(ge=0, lt=2**31)] = 0  # number of a part: a batch may have several parts of results
    alone: bool = False  # the final attempt: to be processed exclusively
    trace: Annotated[dict[Name, Annotated[str, Meta(max_length=600)]], Meta(max_length=4)] = {}  # W3C trace context


class GenerateBatch(msgspec.Struct, frozen=True, kw_only=True, tag_field="message", tag="generate.v2"):
    """gateway → generation, queue `generate.<model>`."""

    header: Header
    model: Name
    specification: Name  # fingerprint of the model's specification, as `Pool.fingerprints` has it
    items: Annotated[tuple[GenerateItem, ...], _Items]


class ScoreBatch(msgspec.Struct, frozen=True, kw_only=True, tag_field="message", tag="score.v2"):
    """generation (or the gateway, for given responses) → scoring, queue `score`."""

    header: Header
    items: Annotated[tuple[Answer, ...], _Items]


class MatchBatch(msgspec.Struct, frozen=True, kw_only=True, tag_field="message", tag="match.v2"):
    """scoring → matching, queue `match`."""

    header: Header
    items: Annotated[tuple[MatchItem, ...], _Items]


class JudgeBatch(msgspec.Struct, frozen=True, kw_only=True, tag_field="message", tag="judge.v2"):
    """matching → judging, queue `judge.<judge>`."""

    header: Header
    judge: Name
    specification: Name  # fingerprint of the judge's specification
    items: Annotated[tuple[JudgeItem, ...], _Items]


class LearnBatch(msgspec.Struct, frozen=True, kw_only=True, tag_field="message", tag="learn.v2"):
    """judging → scoring, queue `learn`."""

    header: Header
    items: Annotated[tuple[Verdict, ...], _Items]


Batch = GenerateBatch | ScoreBatch | MatchBatch | JudgeBatch | LearnBatch


def stage_of(batch: Batch) -> str:
    """The stage that processes a message: `generate`, `score`, `match`, `judge` or `learn`."""
    return str(batch.__struct_config__.tag).partition(".")[0]
