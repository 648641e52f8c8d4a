"""Metrics of calls of a language model, by OpenTelemetry's conventions for generative AI."""

from __future__ import annotations

from karma.telemetry import metrics

#: Every call asks for the next turn of a chat.
_OPERATION = "chat"


def observe_call(
    provider: str,
    model: str,
    latency_s: float | None,
    tokens_in: int | None = None,
    tokens_out: int | None = None,
    error: str | None = None,
) -> None:
    """Record one call, retries included.

    Args:
        provider: `openai` for any endpoint with its protocol, `transformers` for a model in this process.
        model: the endpoint's name of the model.
        latency_s: None if the call was not begun; then nothing is recorded.
        tokens_in: read; None if unknown.
        tokens_out: written; None if unknown.
        error: the kind of its failure.
    """
    if latency_s is None:
        return
    named = (_OPERATION, provider, model)
    metrics.GEN_AI_DURATION.labels(*named, error or "").observe(latency_s)
    for token_type, tokens in (("input", tokens_in), ("output", tokens_out)):
        if tokens is not None:
            metrics.GEN_AI_TOKENS.labels(*named, token_type).observe(tokens)
