"""`reward`: TRL's format for reward models, an explicit preference with a `margin`.

TRL's RewardTrainer subtracts the margin from the difference of the two rewards (Llama 2, arXiv 2307.09288, equation 2),
so it is in logits, the unit of a Bradley–Terry reward. One margin that is not finite makes every weight of the model
NaN.
"""

from __future__ import annotations

from karma_gateway.exporters import EXPLICIT_WITH_MARGIN, Format, explicit_with_margin

reward = Format(EXPLICIT_WITH_MARGIN, explicit_with_margin)
