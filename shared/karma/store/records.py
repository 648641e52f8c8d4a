"""The records that the store writes (frozen structs, which are cheap to make) and reads (tuples, as they are many)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import msgspec

from karma.ranking.judge_plan import JudgePlan
from karma.ranking.orders import OrderPlan
from karma.verdicts import Weighed

Stage = Literal["generate", "score", "match", "judge"]


@dataclass(frozen=True)
class NewPrompt:
    """A validated prompt to be accepted. `messages`, `given` and `metadata` are JSON."""

    prompt_id: str
    content_hash: str
    messages: str
    skill: str | None = None
    reference: str | None = None
    given: str | None = None
    priority: int = 0
    metadata: str | None = None


class PromptRow(NamedTuple):
    """A prompt as the stages read it, its row locked."""

    id: int
    stream: str
    prompt_id: str
    skill: str | None
    reference: str | None
    priority: int
    state: str
    awaited: int


class OpenItem(NamedTuple):
    """An item of open work."""

    id: int
    prompt: int
    stage: Stage
    target: str
    sample: int
    pair: int
    shown: int
    batch: str
    attempts: int
    result_attempts: int
    resends: int
    error: str | None


class Work(NamedTuple):
    """An item of work to be opened. `target` overrides its batch's; `size`, in bytes of text, counts for the limit."""

    prompt: int
    target: str = ""
    sample: int = 0
    pair: int = 0
    shown: int = 0
    size: int = 0


@dataclass(frozen=True)
class BatchLimits:
    """The largest size of a message."""

    items: int = 32
    bytes: int = 256 * 1024


class BatchRow(NamedTuple):
    """One publication of open work."""

    id: str
    stage: Stage
    target: str
    stream: str
    priority: int
    created_at: float
    due_at: float
    published_at: float | None
    epoch: str | None


class NewCall(msgspec.Struct, frozen=True, kw_only=True):
    """What a call took and cost; unknown of given responses and of judges without a model."""

    tokens_in: int | None
    tokens_out: int | None
    latency_s: float | None
    tokens_cached: int | None = None  # of tokens_in
    tokens_reasoning: int | None = None  # of tokens_out
    cost_usd: float | None = None
    priced_by: str | None = None


class NewResponse(NewCall, frozen=True, kw_only=True):
    """A response to be recorded; `features` and `dropped` are JSON."""

    prompt: int
    model: str
    sample: int
    text: str | None
    failure: str | None
    features: str | None
    quality: float | None
    finish_reason: str | None
    reasoning: str | None = None
    dropped: str | None = None


class ResponseRow(NamedTuple):
    """A recorded response as matching reads it."""

    id: int
    prompt: int
    model: str
    sample: int
    text: str | None
    failure: str | None
    features: str | None
    quality: float | None


class NewPair(NamedTuple):
    """A pair to be recorded, a < b; `reasons` is JSON."""

    prompt: int
    response_a: int
    response_b: int
    policy: str
    reasons: str
    kinship: float | None
    gap: float | None
    gap_deviation: float | None
    information: float | None
    likeness: float | None
    novelty: float
    judged_probability: float
    snapshot: int
    awaited: int
    judged: int = 1
    predicted: float | None = None  # P(a better | decisive)
    predicted_tie: float | None = None


class PairRow(NamedTuple):
    """A recorded pair with its models, without its texts."""

    id: int
    prompt: int
    response_a: int
    response_b: int
    model_a: str
    model_b: str
    policy: str
    awaited: int  # verdicts still open
    judged: int  # 0: labeled by the prediction
    judged_probability: float
    gap: float | None  # competency of a minus b when the pair was formed, logits
    kinship: float | None
    information: float | None  # bits
    likeness: float | None  # similarity of the two responses
    novelty: float | None  # of the prompt
    win_probability: float | None  # P(a wins | decisive) by competency alone when the pair was formed
    predicted: float | None  # P(a better | decisive) by the outcome model; None without a judge budget
    length_a: int  # characters
    length_b: int
    quality_a: float | None
    quality_b: float | None
    orders: OrderPlan | None = None  # None: in both orders, by each judge that sees one
    sure: bool | None = None  # of a pair that was judged or labeled because the posterior was sure or not
    competency_a: float | None = None  # of a's model in the prompt's skill when the pair was formed, logits
    competency_b: float | None = None
    judges: JudgePlan | None = None  # None: all judges of the stream
    canary: tuple[str, bool] | None = None  # its answer, a or b; whether the other response has an attack inside


class NewVerdict(NewCall, frozen=True, kw_only=True):
    """A verdict to be recorded."""

    pair: int
    judge: str
    template_hash: str
    shown: int
    probability: float | None
    failure: str | None
    rationale: str | None
    note: str | None = None


class VerdictRow(NamedTuple):
    """A recorded verdict, without its rationale."""

    pair: int
    judge: str
    shown: int
    probability: float | None
    failure: str | None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None
    template_hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRecord:
    """A pair with its outcome and all its verdicts, from which every figure of pair quality is computed."""

    pair: PairRow
    stream: str
    outcome: str | None  # None while the pair is open
    a_is_chosen: bool  # of a decisive pair
    probability: float | None  # that a is better
    label_source: str | None
    resolved_at: float  # seconds since 1970; 0 while the pair is open
    verdicts: Sequence[VerdictRow]
    weighed: Mapping[str, Weighed] | None = None  # by judge; None: the label is the mean, or of one judge


class NewResolution(msgspec.Struct, frozen=True, kw_only=True):
    """The resolution of a pair."""

    pair: int
    prompt: int
    outcome: str
    chosen: int | None = None
    rejected: int | None = None
    probability: float | None = None
    flipped: int | None = None
    label_source: str | None = None
    predicted: float | None = None  # P(a better | decisive), without the pair's own verdicts
    reason: str | None = None
    weights: str | None = None  # JSON, as `karma.store.jury_verdicts` writes it

    @classmethod
    def of_prediction(cls, pair: int, prompt: int, response_a: int, response_b: int, probability: float) -> Self:
        """The predicted label of an unjudged pair; `probability` that response a is better."""
        chosen, rejected = (response_a, response_b) if probability > 0.5 else (response_b, response_a)
        return cls(
            pair=pair,
            prompt=prompt,
            outcome="decisive",
            chosen=chosen,
            rejected=rejected,
            probability=probability,
            label_source="predicted",
            predicted=probability,
        )


class Example(NamedTuple):
    """A judged pair that the outcome model is fitted to; `reasons` is JSON."""

    prompt: int
    skill: str | None
    response_a: int
    response_b: int
    model_a: str
    model_b: str
    reasons: str
    outcome: str
    chosen: int | None
    resolved_at: float = 0.0


class Count(NamedTuple):
    """Summed weights of verdicts on two models, model_a < model_b, in one time bucket."""

    source: str
    skill: str
    model_a: str
    model_b: str
    bucket: int
    wins_a: float
    wins_b: float
    ties: float
    squares: float = 0.0  # of the weights (`karma.ranking.verdict_weights`)
