"""What calls cost: by the price in the pool file, else by the price list of `genai-prices` for hosted models.

A call is priced once, when it is recorded, and its money is kept: providers price in steps and change their prices, so
that a sum of tokens has no price. Unknown is never 0.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from karma.config.pool import Pool
from karma.config.settings import Price
from karma.messages import ModelSpec
from karma.plugins.registry import backend_kind

Kind = Literal["model", "judge"]

#: What priced a call: the pool file. Otherwise `genai-prices` with its version.
POOL = "pool"

#: A call of which every part is billed: whether a model has a price at all.
_SOME_TOKENS = (1000, 100)


class Usage(NamedTuple):
    """The tokens of one call; None where they are unknown. Those cached and of reasoning are among the others."""

    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    tokens_reasoning: int | None = None

    @property
    def total(self) -> int | None:
        """All tokens."""
        return None if self.tokens_in is None or self.tokens_out is None else self.tokens_in + self.tokens_out


class Priced(NamedTuple):
    """What a call cost, USD, and what says so; both None where that is unknown."""

    cost_usd: float | None = None
    priced_by: str | None = None


def money(price: Price | None, stored: float | None, usage: Usage) -> float | None:
    """What a call cost, USD: the stored money, else its tokens by the pool file's price; None where it is unknown.

    The one rule for calls whose money was not known when they were recorded, as those of earlier versions.
    """
    if stored is not None or price is None:
        return stored
    tokens_in, tokens_out = usage.tokens_in, usage.tokens_out
    if (tokens_in is None and price.input) or (tokens_out is None and price.output):
        return None
    if tokens_in is None and tokens_out is None:
        return None
    return price.of(tokens_in or 0, tokens_out or 0, usage.tokens_cached or 0)


class Pricing:
    """Prices calls of the models and judges of a pool."""

    def __init__(self, pool: Pool) -> None:
        self._prices = pool.prices
        self._specs: dict[tuple[Kind, str], ModelSpec] = {("model", name): spec for name, spec in pool.models.items()}
        self._specs |= {("judge", name): judge.model for name, judge in pool.judges.items() if judge.model is not None}

    def price(self, kind: Kind, name: str, usage: Usage) -> Priced:
        """What one call cost."""
        price = self._prices.get(name)
        if price is not None:
            cost = money(price, None, usage)
            return Priced() if cost is None else Priced(cost, POOL)
        spec = self._specs.get((kind, name))
        if spec is None or spec.base_url is None or None in usage[:2]:
            return Priced()
        cost = hosted_price(spec.base_url, spec.model, usage)
        if cost is not None and spec.batch:
            cost *= spec.batch_discount
        return Priced() if cost is None else Priced(cost, f"genai-prices {_version()}")

    def is_known(self, kind: Kind, name: str) -> bool:
        """Whether calls of a model or judge have a price, or can have none: a model in this process, or none at all."""
        spec = self._specs.get((kind, name))
        if spec is None or (backend_kind(spec.backend).local and name not in self._prices):
            return True
        return self.price(kind, name, Usage(*_SOME_TOKENS)).cost_usd is not None


def hosted_price(base_url: str, model: str, usage: Usage) -> float | None:
    """What a call of a provider's model cost by the price list; None for any other host, or without the extra.

    The host decides: a model's name alone says nothing, as a server of one's own may have one of the same name.
    """
    providers = _providers(base_url)
    if not providers:
        return None
    from genai_prices import Usage as Billed
    from genai_prices.data_snapshot import get_snapshot

    tokens_in, tokens_out = usage.tokens_in or 0, usage.tokens_out or 0
    billed: dict[str, Any] = {"input_tokens": tokens_in, "output_tokens": tokens_out}
    if usage.tokens_cached:
        billed["cache_read_tokens"] = min(usage.tokens_cached, tokens_in)
    if usage.tokens_reasoning:
        billed["output_reasoning_tokens"] = min(usage.tokens_reasoning, tokens_out)
    for provider in providers:
        try:
            found = get_snapshot().calc(Billed(**billed), model, provider, None, None)
        except (LookupError, ValueError):
            continue
        if found.total_price or not (tokens_in or tokens_out):
            return float(found.total_price)
    return None


@cache
def _providers(base_url: str) -> tuple[str, ...]:
    """The ids of the providers of the price list whose host an address has; none without the extra `prices`."""
    try:
        from genai_prices.data_snapshot import get_snapshot
    except ImportError:
        return ()
    parts = urlsplit(base_url)
    if parts.scheme != "https" or not parts.hostname:
        return ()
    host = f"https://{parts.hostname}"
    found = []
    for provider in get_snapshot().providers:
        # A pattern that lets any characters pass is held against the host alone: a path may hold a provider's name.
        is_loose = ".*" in provider.api_pattern or "[^.]*" in provider.api_pattern
        match = re.match(provider.api_pattern, f"{host}/" if is_loose else f"{host}{parts.path or '/'}")
        if match is not None and match.end() >= len(host):  # not a host that only begins like a provider's
            found.append(provider.id)
    return tuple(found)


@cache
def _version() -> str:
    from importlib.metadata import version

    return version("genai-prices")
