"""Canaries: pairs whose answer is known, in a derived stream beside the one that they measure the judges of.

Their prompts have two given responses. The number of the sample says which is which, so that the stages in between need
no rule of their own.
"""

from __future__ import annotations

from typing import Final

#: Samples of a canary's responses: the right one, and a wrong one, as it is or with an attack on the judge inside.
RIGHT: Final = 0
WRONG: Final = 1
ATTACKED: Final = 2
