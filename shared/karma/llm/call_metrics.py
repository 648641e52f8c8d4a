"""Calls of a language model as metrics after OpenTelemetry's conventions for generative AI."""

from __future__ import annotations

from karma.telemetry import metrics

#: What is asked of a model: the next turn of a chat.
_OPERATION = "chat"


def observe_call(
    provider: str,
    model: str,
    latency_s: float | None,
    tokens_in: int | None = None,
    tokens_out: int | None = None,
    error: str | None = None,
) -> None:
    """One call, further attempts included.

    Args:
        provider: `openai` for any endpoint that speaks its protocol, `transformers` for a model in this process.
        model: as the endpoint knows it.
        latency_s: None where the call was not begun; then nothing is shown of it.
        tokens_in: read; None where unknown.
        tokens_out: written; None where unknown.
        error: a short word for what it failed of.
    """
    if latency_s is None:
        return
    named = (_OPERATION, provider, model)
    metrics.GEN_AI_DURATION.labels(*named, error or "").observe(latency_s)
    for token_type, tokens in (("input", tokens_in), ("output", tokens_out)):
        if tokens is not None:
            metrics.GEN_AI_TOKENS.labels(*named, token_type).observe(tokens)
