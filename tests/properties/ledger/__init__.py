"""Random histories on SQLite and PostgreSQL at once, held against a model of the ledger in plain Python.

A history accepts and admits prompts, works, records, repeats and delays messages, crashes, sweeps, loses Redis and
requeues, in any order. After every step both databases equal the model, and the invariants hold.
"""
