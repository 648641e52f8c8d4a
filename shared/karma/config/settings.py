"""The tables of the pool file that hold settings: `[stream]`, `[streams.NAME]`, `[pipeline]` and the prices."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from karma.config.goals import DEFAULT_GOAL, LEAST_SURE, Goal

MIB = 1 << 20

_Count = Annotated[int, Meta(ge=1)]
_MOST = 1e12  # of a number: TOML has `inf`, with which nothing can be reckoned
_Positive = Annotated[float, Meta(gt=0, le=_MOST)]
_Share = Annotated[float, Meta(gt=0, le=1)]

#: In which orders a judge is asked about a pair (`karma.ranking.orders`).
Orders = Literal["both", "adaptive", "one"]


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a stream: `[stream]` for all, `[streams.NAME]` for one."""

    goal: Goal = DEFAULT_GOAL  # what the data is for: it chooses settings that the table does not have (`goals`)
    policy: str = "informative"
    kinship: Literal["posterior", "cosine"] = "posterior"  # the definition that policy kin uses
    models: tuple[str, ...] = ()  # of the pool; empty: all
    judges: tuple[str, ...] = ()  # empty: all
    target: str | None = None  # a model that every pair includes
    orders: Orders = "both"  # in which a judge is asked whose verdict can depend on the order
    # Of `adaptive`: P(the second order changes the label) up to which the first verdict is enough.
    most_order_doubt: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    order_audit_share: _Share = 0.05  # of `adaptive`: pairs that are asked both orders whatever the first says; never 0
    first_judge: str | None = None  # is asked before the other judges of the stream; None: all are asked at once
    # Of `first_judge`: P(the other judges' label is another one) up to which its own label stands.
    most_judge_doubt: Annotated[float, Meta(ge=0, lt=1)] = 0.2
    judge_audit_share: _Share = 0.05  # of `first_judge`: pairs that all judges see whatever it says; never 0
    judges_per_pair: Annotated[int, Meta(ge=0)] = 0  # drawn among the judges for each pair; 0: all
    all_judges_share: _Share = 0.05  # of `judges_per_pair`: pairs that all judges see, so that they can be compared
    responses_per_prompt: Annotated[int, Meta(ge=0)] = 2  # 0: every model answers
    pairs_per_prompt: Annotated[int, Meta(ge=0)] = 1  # at most; 0: as many as the policy forms
    # Characters of the longer response / those of the shorter one, above which two responses are not paired.
    max_length_ratio: Annotated[float, Meta(ge=1, le=_MOST)] | None = None
    explore_share: Annotated[float, Meta(ge=0, le=1)] = 0.1  # of prompts: their models are chosen to reduce uncertainty
    checker: str = "answer"  # checks responses against a prompt's reference
    tie_margin: Annotated[float, Meta(ge=0, lt=0.5)] = 0.05  # |p − 0.5| within which a verdict is a tie
    skills: Literal["labels", "embeddings"] = "labels"  # embeddings: prompts without a label get one from their text
    embedder_revision: str = ""  # of an embedder on a hub: a commit, a tag or a branch; empty: the newest
    embedder: str = ""  # a folder, or a name that sentence-transformers can load; empty: the bundled one
    judge_share: _Share | None = None  # of pairs that may be judged; the others get a predicted label
    judge_calls_per_hour: _Positive | None = None  # the same as a number of calls
    # P(better | decisive) from which on a pair is labeled by prediction, with or without calls left; it falls to .75
    # where few pairs reach it. None: pairs are labeled because their verdict would tell little.
    label_at: Annotated[float, Meta(ge=LEAST_SURE, lt=1)] | None = None
    # Share of the pairs with a predicted label that are judged to measure the label error; never 0.
    audit_share: _Share = 0.03
    weight: _Positive = 1.0  # share of the places in flight that it gets beside other streams of its priority
    # Label error above which more pairs are judged than budgeted.
    max_label_error: Annotated[float, Meta(gt=0, lt=1)] | None = None
    # Of prompts with a judged pair: each brings a pair whose answer is known, which measures the judges.
    canary_share: Annotated[float, Meta(ge=0, le=0.5)] = 0.0
    budget_usd: _Positive | None = None  # of the whole stream: no call begins once so much is spent
    budget_usd_per_day: _Positive | None = None  # of the stream on one day (UTC)

    def __post_init__(self) -> None:
        if self.responses_per_prompt == 1:
            raise ValueError("responses_per_prompt is 1, expected 0 or at least 2")
        if self.label_at is not None and self.judge_share is None:
            raise ValueError(
                f"label_at is {self.label_at:g} without a judge_share: say which share of the pairs may be judged to "
                'learn what is labeled, or set goal = "train"'
            )

    @property
    def has_judge_budget(self) -> bool:
        """Whether a budget limits how many pairs are judged."""
        return self.judge_share is not None or self.judge_calls_per_hour is not None


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An endpoint's price per million tokens, USD: `price` of a model."""

    input: float
    output: float
    cached_input: float | None = None  # of input that the endpoint read from its cache; None: as other input

    def __post_init__(self) -> None:
        named = {"input": self.input, "output": self.output, "cached_input": self.cached_input}
        for name, value in named.items():
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value!r}, expected USD per million tokens, 0 or more")

    def discounted(self, share: float) -> Price:
        """The price of calls that cost a share of it."""
        cached = None if self.cached_input is None else self.cached_input * share
        return Price(input=self.input * share, output=self.output * share, cached_input=cached)

    def of(self, tokens_in: int, tokens_out: int, tokens_cached: int = 0) -> float:
        """The cost of calls, USD; `tokens_cached` are those of `tokens_in` that came from a cache."""
        cached_input = self.input if self.cached_input is None else self.cached_input
        cached = min(tokens_cached, tokens_in)
        return (self.input * (tokens_in - cached) + cached_input * cached + self.output * tokens_out) / 1e6


class PipelineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of the pipeline: `[pipeline]`."""

    window: _Count = 2048  # prompts between dispatched and done, over all streams
    model_limit: _Count = 1024  # open generations of one model
    batch_items: _Count = 32
    batch_bytes: _Count = 256 * 1024  # of text in one message
    plan_prompts: _Count = 256  # planned together
    prompt_bytes: _Count = MIB  # of one prompt with its given responses
    refit_every_s: _Positive = 1.0
    half_life_h: _Positive = 24 * 30  # a verdict this old counts half
    claim_silence_s: _Positive = 10.0  # a claim without a heartbeat for this long is revoked
    publish_grace_s: _Positive = 5.0  # a batch that is not published, or not in its queue, for this long is lost
    max_attempts: _Count = 3  # of an item whose worker's heartbeat expired
    # Further variables of the environment that workers get, for plug-ins; keys of endpoints need not be named here.
    pass_environment: tuple[str, ...] = ()
    max_resends: _Count = 20  # of an item whose message or result was lost; each further loss is a failed attempt
    budget_usd_per_day: _Positive | None = None  # of all streams on one day (UTC): no call begins once it is spent
