"""The tables of the pool file that hold settings: `[stream]`, `[streams.NAME]`, `[pipeline]` and the prices."""

from __future__ import annotations

import math

import msgspec

MIB = 1 << 20

#: How kinship may be defined (`karma.ranking.snapshot.Snapshot.with_kinship`).
KINSHIPS = ("posterior", "cosine")


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a stream is treated: `[stream]` for all, `[streams.NAME]` for one."""

    policy: str = "informative"
    kinship: str = "posterior"  # what policy kin goes by: "posterior" or "cosine"
    models: tuple[str, ...] = ()  # of the pool; empty: all
    judges: tuple[str, ...] = ()  # empty: all
    target: str | None = None  # a model that every pair must hold an answer of
    responses_per_prompt: int = 2  # 0: every model answers
    pairs_per_prompt: int = 1  # at most; 0: as many as the policy forms
    explore_share: float = 0.1  # of prompts, spent on what reduces uncertainty most
    checker: str = "answer"  # how a response is held against a prompt's reference
    tie_margin: float = 0.05  # |p − 0.5| within which neither side is taken
    skills: str = "labels"  # "embeddings": those of prompts without a label are found from their texts
    embedder: str = ""  # a folder, or a name that sentence-transformers can load; empty: the bundled one
    judge_share: float | None = None  # of pairs that may be judged; the others are labelled by the prediction
    judge_calls_per_hour: float | None = None  # the same as a number of calls
    audit_share: float = 0.03  # of the pairs that would be labelled, judged all the same to know the labels' error
    max_label_error: float | None = None  # audited error of such labels above which more is judged than the budget says

    def __post_init__(self) -> None:
        _need(
            self.responses_per_prompt >= 0 and self.responses_per_prompt != 1, "responses_per_prompt must be 0 or ≥ 2"
        )
        _need(self.kinship in KINSHIPS, f"kinship is {self.kinship!r}, expected one of {', '.join(KINSHIPS)}")
        _need(self.pairs_per_prompt >= 0, "pairs_per_prompt must be 0 or more")
        _need(0 <= self.explore_share <= 1, "explore_share must be from 0 to 1")
        _need(0 <= self.tie_margin < 0.5, "tie_margin must be from 0 to below 0.5")
        _need(self.skills in ("labels", "embeddings"), f'skills is {self.skills!r}, expected "labels" or "embeddings"')
        _need(self.judge_share is None or 0 < self.judge_share <= 1, "judge_share must be above 0, to 1")
        _need(
            self.judge_calls_per_hour is None or self.judge_calls_per_hour > 0, "judge_calls_per_hour must be above 0"
        )
        _need(0 < self.audit_share <= 1, "audit_share must be above 0: without an audit nobody knows the labels' error")
        _need(self.max_label_error is None or 0 < self.max_label_error < 1, "max_label_error must be between 0 and 1")

    @property
    def gated(self) -> bool:
        """Whether a budget limits what is judged."""
        return self.judge_share is not None or self.judge_calls_per_hour is not None


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an endpoint asks for a million tokens, USD: `price` of a model."""

    input: float
    output: float

    def __post_init__(self) -> None:
        for name in ("input", "output"):
            value = getattr(self, name)
            _need(
                math.isfinite(value) and value >= 0, f"{name} is {value!r}, expected USD per million tokens, 0 or more"
            )

    def of(self, tokens_in: int, tokens_out: int) -> float:
        """The cost of a call, USD."""
        return (self.input * tokens_in + self.output * tokens_out) / 1e6


class PipelineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The machine's own limits: `[pipeline]`."""

    window: int = 2048  # prompts between dispatched and done, over all streams
    model_limit: int = 1024  # open generations of one model
    batch_items: int = 32
    batch_bytes: int = 256 * 1024  # of text in one message
    plan_prompts: int = 256  # planned in one go
    prompt_bytes: int = MIB  # a prompt with all it brings may not be larger
    refit_every_s: float = 1.0
    half_life_h: float = 24 * 30  # a verdict this old counts half
    claim_silence_s: float = 10.0  # a claim without a sign of life this long is given up
    publish_grace_s: float = 5.0  # what is not published, or not found in its queue, this long is lost
    max_attempts: int = 3  # of an item whose worker fell silent

    def __post_init__(self) -> None:
        for name in (
            "window",
            "model_limit",
            "batch_items",
            "batch_bytes",
            "plan_prompts",
            "prompt_bytes",
            "max_attempts",
        ):
            _need(getattr(self, name) >= 1, f"{name} must be 1 or more")
        for name in ("refit_every_s", "half_life_h", "claim_silence_s", "publish_grace_s"):
            _need(getattr(self, name) > 0, f"{name} must be above 0")


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
