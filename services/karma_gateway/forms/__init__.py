"""Forms: the layouts of data that are recognized by the names of their columns, one family a file."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from karma_gateway.forms.alpaca import ALPACA
from karma_gateway.forms.draft import Form
from karma_gateway.forms.own import OWN
from karma_gateway.forms.sharegpt import SHAREGPT

#: In the order in which they are tried: what has more columns of its own comes first.
FORMS: Sequence[Form] = (SHAREGPT, OWN, ALPACA)


def form_of(columns: Collection[str]) -> tuple[Form, tuple[str, ...]] | None:
    """The form of a row with these columns, and those that it reads; None where no form has them."""
    for form in FORMS:
        used = form.uses(columns)
        if used is not None:
            return form, used
    return None
