"""The tokens of a call as endpoints report them: read and written, and of these those from a cache and of reasoning.

An endpoint is untrusted: a number that no database column holds is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

TOKENS_IN = ("prompt_tokens", "input_tokens")
TOKENS_OUT = ("completion_tokens", "output_tokens")

#: Where the tokens of the prompt from a cache stand; those of the second group are not among the tokens read.
_CACHED = ("prompt_cache_hit_tokens", "cached_tokens")
_CACHED_APART = ("cache_read_input_tokens", "cache_creation_input_tokens")

_MOST_DIGITS = 12
_MOST_TOKENS = 2**31 - 1  # the largest integer of a database column


class TokenUsage(NamedTuple):
    """The tokens of a call; None where the endpoint does not say.

    Attributes:
        tokens_in: read, those from a cache included.
        tokens_out: written, reasoning included.
        tokens_cached: of those read: from the endpoint's cache.
        tokens_reasoning: of those written: reasoning.
    """

    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    tokens_reasoning: int | None = None

    def plus(self, other: TokenUsage) -> TokenUsage:
        """The sum of two attempts; a number that one of them does not know is the other's."""
        return TokenUsage(*(one if two is None else two + (one or 0) for one, two in zip(self, other, strict=True)))


NO_USAGE = TokenUsage()


def usage_of(usage: Mapping[str, Any]) -> TokenUsage:
    """The tokens in the `usage` of a completion.

    Reasoning is part of the tokens written, unless their total says that it stands beside them (xAI). The cache of a
    usage in Anthropic's form stands beside the tokens read.
    """
    tokens_in, tokens_out = counts(usage, TOKENS_IN), counts(usage, TOKENS_OUT)
    reasoning = _detail(usage, ("completion_tokens_details", "output_tokens_details"), "reasoning_tokens")
    if reasoning is None:
        reasoning = count(usage.get("reasoning_tokens"))
    if reasoning and tokens_in is not None and tokens_out is not None:
        total = count(usage.get("total_tokens"))
        if total is not None and total == tokens_in + tokens_out + reasoning:
            tokens_out += reasoning
    from_cache = _detail(usage, ("prompt_tokens_details", "input_tokens_details"), "cached_tokens")
    if from_cache is None:
        from_cache = counts(usage, _CACHED)
    if from_cache is None:
        from_cache = count(usage.get(_CACHED_APART[0]))
        if from_cache is not None and tokens_in is not None and "prompt_tokens" not in usage:
            tokens_in += from_cache + (count(usage.get(_CACHED_APART[1])) or 0)
    if from_cache is not None and tokens_in is not None:
        from_cache = min(from_cache, tokens_in)
    if reasoning is not None and tokens_out is not None:
        reasoning = min(reasoning, tokens_out)
    return TokenUsage(tokens_in, tokens_out, from_cache, reasoning)


def cached(usage: Mapping[str, Any]) -> int:
    """The tokens of the prompt from a cache, which some servers count apart."""
    details = usage.get("prompt_tokens_details")
    named = [usage.get(name) for name in (*_CACHED_APART, "cached_tokens")]
    return sum(count(each) or 0 for each in [details.get("cached_tokens") if isinstance(details, dict) else 0, *named])


def counts(usage: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """The first valid number of tokens by one of the names."""
    for name in names:
        if name in usage and (found := count(usage[name])) is not None:
            return found
    return None


def count(tokens: Any) -> int | None:
    """The number of tokens; None if the endpoint's number is invalid."""
    if type(tokens) is int and 0 <= tokens <= _MOST_TOKENS:  # as almost all are
        return tokens
    if isinstance(tokens, str) and tokens.isascii() and tokens.isdigit() and len(tokens) < _MOST_DIGITS:
        tokens = int(tokens)
    valid = isinstance(tokens, int | float) and not isinstance(tokens, bool) and 0 <= tokens <= _MOST_TOKENS
    return int(tokens) if valid else None


def _detail(usage: Mapping[str, Any], names: tuple[str, ...], detail: str) -> int | None:
    for name in names:
        details = usage.get(name)
        if isinstance(details, dict) and (number := count(details.get(detail))) is not None:
            return number
    return None
