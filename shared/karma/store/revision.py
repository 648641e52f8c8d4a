"""The revision of a store's schema against the one that this version of KARMA needs.

Revisions are numbers of four digits that count up, one for each migration.
"""

from __future__ import annotations

from karma.errors import NewerSchemaError, SchemaError, StoreError
from karma.store.schema import REVISION


def mismatch(revision: str | None, shown_url: str) -> StoreError | None:
    """The error of a store at this revision (None: without a schema); None where it is the one that is needed.

    An older store can be waited for, as a migration makes it right. A newer one cannot.
    """
    if revision == REVISION:
        return None
    if revision is None:
        return SchemaError(f"the store {shown_url} has no tables yet; a gateway of this version creates them")
    if revision > REVISION:
        return NewerSchemaError(
            f"the store {shown_url} is at revision {revision}, newer than this version's {REVISION}; "
            "run the version of KARMA that migrated it"
        )
    return SchemaError(
        f"the store {shown_url} is at revision {revision}, this version needs {REVISION}; "
        "a gateway of this version migrates it"
    )
