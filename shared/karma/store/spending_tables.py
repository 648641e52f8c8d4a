"""The tables of money: running sums of spending, and budgets (`karma.store.spending`)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Integer, Table, Text

from karma.store.schema import metadata

#: The money and the tokens of a stream's recorded calls of one model or judge on one day: a running sum that is updated
#: in the transaction that records the calls. What a requeue deletes stays counted: it was paid for.
spending = Table(
    "spending",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("day", Integer, primary_key=True),  # whole days since 1970, UTC
    Column("kind", Text, primary_key=True),  # model or judge
    Column("name", Text, primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("tokens_in", BigInteger, nullable=False),
    Column("tokens_out", BigInteger, nullable=False),
    Column("priced", BigInteger, nullable=False),  # calls with stored money
    Column("cost_usd", Float, nullable=False),  # of these
    # calls without stored money of which the tokens are known: the pool file's price of today applies
    Column("unpriced", BigInteger, nullable=False),
    Column("unpriced_in", BigInteger, nullable=False),
    Column("unpriced_out", BigInteger, nullable=False),
)

#: Limits of spending, as the gateway's pool file has them. Written by the gateway when it starts, and for new streams.
budgets = Table(
    "budgets",
    metadata,
    Column("stream", Text, primary_key=True),  # EVERYTHING: all streams together
    Column("total_usd", Float),  # null: unlimited
    Column("day_usd", Float),  # on one day, UTC
)
