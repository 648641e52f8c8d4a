"""The store: the truth of what was accepted, what is open, and what came of it. SQLite or PostgreSQL."""

from karma.store.database import Store, Transaction

__all__ = ["Store", "Transaction"]
