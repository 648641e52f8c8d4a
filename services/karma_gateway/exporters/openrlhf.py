"""`openrlhf`: what OpenRLHF reads with `--prompt_key prompt --apply_chat_template`, for DPO and reward models.

It puts `prompt` before `chosen` and `rejected` itself, and takes `margin` (logits) for reward models with
`--margin_loss`.
"""

from __future__ import annotations

from karma_gateway.exporters import EXPLICIT_WITH_MARGIN, Format, explicit_with_margin

openrlhf = Format(
    EXPLICIT_WITH_MARGIN,
    explicit_with_margin,
    note="OpenRLHF cuts an answer by the length of the rendered prompt: with a chat template that ends its generation "
    "prompt in an opening tag, such as <think>, each answer loses its first characters",
)
