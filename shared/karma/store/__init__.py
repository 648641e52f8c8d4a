"""The store: accepted prompts, open work and all results, in SQLite or PostgreSQL."""

from karma.store.database import Store, Transaction

__all__ = ["Store", "Transaction"]
