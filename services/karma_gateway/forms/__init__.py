"""Forms: the layouts of data that are recognized by the names of their columns, one family a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from karma_gateway.forms.alpaca import ALPACA
from karma_gateway.forms.batch_lines import BATCH_LINE
from karma_gateway.forms.chosen_rejected import CHOSEN_REJECTED
from karma_gateway.forms.compared_pairs import ALPACA_EVAL, ARENA_55K, ARENA_CHATS, HELPSTEER3, SAFERLHF, SHP
from karma_gateway.forms.draft import Form
from karma_gateway.forms.own import OWN
from karma_gateway.forms.response_lists import DISTILABEL, LISTS, NECTAR, RESPONSE_LIST, ULTRAFEEDBACK
from karma_gateway.forms.sharegpt import SHAREGPT

#: In the order in which they are tried: what has more columns of its own comes first.
FORMS: Sequence[Form] = (
    *(BATCH_LINE, ULTRAFEEDBACK, NECTAR, ALPACA_EVAL, HELPSTEER3, ARENA_CHATS, ARENA_55K, SAFERLHF, SHP),
    *(DISTILABEL, CHOSEN_REJECTED, RESPONSE_LIST, SHAREGPT, OWN, ALPACA),
)


#: Columns whose form depends on their values.
VALUED = frozenset(LISTS)


def form_of(row: Mapping[str, Any]) -> tuple[Form, tuple[str, ...]] | None:
    """The form of a row, and the columns that it reads; None where no form has them."""
    for form in FORMS:
        used = form.uses(row)
        if used is not None:
            return form, used
    return None
