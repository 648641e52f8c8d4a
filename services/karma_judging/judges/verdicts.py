"""Making verdicts from what a judge found out."""

from __future__ import annotations

from karma.messages import JudgeItem, JudgeSpec, Verdict


def verdict(
    spec: JudgeSpec,
    item: JudgeItem,
    *,
    probability: float | None = None,
    failure: str | None = None,
    template_hash: str = "",
    rationale: str | None = None,
    tokens_in: int | None = None,
    tokens_out: int | None = None,
    latency_s: float | None = None,
) -> Verdict:
    """The verdict of a judge on an item: a probability that the first shown is better, or a failure."""
    return Verdict(
        item=item.item,
        pair=item.pair,
        prompt=item.prompt,
        judge=spec.name,
        order=item.order,
        template_hash=template_hash,
        probability=probability,
        failure=failure,
        rationale=rationale,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        latency_s=latency_s,
    )
