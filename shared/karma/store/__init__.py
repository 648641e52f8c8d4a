"""The store: accepted prompts, open work and all results, in SQLite or PostgreSQL."""

from karma.store import deletion_tables as deletion_tables  # a part of the schema, whoever looks at it
from karma.store.database import Store, Transaction

__all__ = ["Store", "Transaction"]
