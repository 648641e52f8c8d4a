"""What a file of prompts would cost, with an interval, before anything is asked.

Measured where this stream, or another one of the store, has called the models and judges; else from prices and stated
assumptions. Costs are fitted to the length of the prompt: what prompts share (instructions, answers) is the constant.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import func, select

from karma.config.judge_calls import asked_share, calls_of
from karma.config.pool import Pool
from karma.config.pricing import Kind, Pricing, Usage, money
from karma.messages import ModelSpec
from karma.store import Transaction
from karma.store.chunks import rows_in
from karma.store.prompt_states import IS_DONE
from karma.store.schema import pairs, prompts, responses, verdicts
from karma_monitor.figures.money.line_fit import Fit

#: Where an estimate comes from: this stream's prompts, calls of other streams, or prices and assumptions.
Source = Literal["stream", "store", "prices", "unknown"]

#: The newest prompts that are read, and those from which on they are enough.
_NEWEST, _ENOUGH = 2000, 20

#: Characters of a token of English text, and of an answer that a judge reads, where nothing is measured.
_CHARACTERS_PER_TOKEN = 4.0
_DEFAULT_TOKENS = 4096
_JUDGE_INSTRUCTIONS = 250  # tokens
_Z95 = 1.96
#: Share of a cost that the interval has on each side at the least: tokens do not follow characters exactly.
_INEXACT = 0.02


@dataclass(frozen=True)
class Part:
    """The estimate of one model or judge; None where it is unknown."""

    kind: Kind
    name: str
    source: Source
    calls: float
    tokens_in: float | None
    tokens_out: float | None
    cost_usd: float | None
    variance: float
    assumes: str


@dataclass(frozen=True)
class Estimate:
    """What prompts would cost; `low` and `high` are the 95 % interval."""

    prompts: int
    parts: Sequence[Part]
    cost_usd: float | None
    low: float | None
    high: float | None

    def data(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "prompts": self.prompts,
            "cost_usd": self.cost_usd,
            "low_usd": self.low,
            "high_usd": self.high,
            "parts": [
                {
                    **{"kind": part.kind, "name": part.name, "source": part.source, "calls": round(part.calls, 1)},
                    **{"tokens_in": part.tokens_in, "tokens_out": part.tokens_out, "cost_usd": part.cost_usd},
                    "assumes": part.assumes,
                }
                for part in self.parts
            ],
        }

    def sentence(self) -> str:
        """For people: the cost and its interval."""
        unknown = [f"{part.kind} {part.name}" for part in self.parts if part.cost_usd is None]
        prompts = f"{self.prompts:,} prompt{'' if self.prompts == 1 else 's'}"
        if self.cost_usd is None or self.low is None or self.high is None:
            return f"{prompts} would cost an unknown amount: no price of {', '.join(unknown)}"
        left_out = f", without {', '.join(unknown)} (no price)" if unknown else ""
        interval = f"95 % interval {self.low:,.4f} to {self.high:,.4f}"
        return f"{prompts} would cost about {self.cost_usd:,.4f} USD ({interval}){left_out}"


@dataclass
class _Call:
    """The calls of one model or judge on one prompt."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    known: bool = True


_Measured = Mapping[tuple[Kind, str], Mapping[int, _Call]]


def estimate(transaction: Transaction, pool: Pool, stream: str, lengths: Sequence[int], given: int = 0) -> Estimate:
    """What prompts of these lengths (characters of their messages as JSON) would cost in a stream.

    Args:
        transaction: of the store.
        pool: models, judges, prices and settings.
        stream: that the prompts would be added to.
        lengths: of the prompts without given responses, and then of the others.
        given: how many of the prompts, the last ones, bring their responses: those are only judged.
    """
    own = _newest_prompts(transaction, stream)
    measured = _calls(transaction, pool, own) if len(own) >= _ENOUGH else {}
    xs: list[float] = [float(length) for length in lengths]
    generated = xs[: len(xs) - given]
    parts = []
    for kind, name, spec, per_prompt in _asked(pool, stream):
        on = generated if kind == "model" else xs
        if of_name := measured.get((kind, name)):
            parts.append(_from_stream(kind, name, own, of_name, on))
            continue
        elsewhere = _from_store(transaction, pool, kind, name, per_prompt, on)
        parts.append(elsewhere or _from_prices(pool, stream, kind, name, spec, per_prompt, on))
    known = [part for part in parts if part.cost_usd is not None]
    if not known and parts:
        return Estimate(len(xs), parts, None, None, None)
    cost = math.fsum(part.cost_usd or 0.0 for part in known)
    # Costs of models and judges rise and fall together with the answers: deviations are added, not variances.
    deviation = math.fsum(math.sqrt(part.variance) for part in known)
    deviation = math.hypot(deviation, _INEXACT / _Z95 * cost)
    low = max(0.0, cost - _Z95 * deviation)
    if any(part.source == "prices" for part in known):
        low = min(low, math.fsum(_least(part) for part in known))
    return Estimate(len(xs), parts, cost, low, cost + _Z95 * deviation)


def _least(part: Part) -> float:
    """A lower end: assumed answers may be much shorter than their limit."""
    return 0.05 * (part.cost_usd or 0.0) if part.source == "prices" else part.cost_usd or 0.0


def _asked(pool: Pool, stream: str) -> Iterator[tuple[Kind, str, ModelSpec, float]]:
    """The models and judges of a stream that are called, and their calls per prompt by its settings."""
    settings, models = pool.stream(stream), pool.stream_models(stream)
    responses_per_prompt = settings.responses_per_prompt or max(2, len(models))
    for name in models:
        yield "model", name, pool.models[name], responses_per_prompt / len(models)
    pairs_per_prompt = settings.pairs_per_prompt or responses_per_prompt * (responses_per_prompt - 1) / 2
    judges = pool.stream_judges(stream)
    judged = pairs_per_prompt * (settings.judge_share or 1.0) * asked_share(judges, settings)
    for judge in judges:
        if judge.model is not None:
            yield "judge", judge.name, judge.model, judged * calls_of(judge, settings)


def _newest_prompts(transaction: Transaction, stream: str) -> dict[int, int]:
    """The newest prompts of a stream that ended, with the lengths of their messages."""
    ended = IS_DONE, prompts.c.stream == stream
    query = select(prompts.c.id, func.length(prompts.c.messages)).where(*ended)
    rows = transaction.ledger.connection.execute(query.order_by(prompts.c.id.desc()).limit(_NEWEST))
    return {row[0]: int(row[1]) for row in rows}


def _calls(transaction: Transaction, pool: Pool, among: Mapping[int, int]) -> _Measured:
    """The calls on prompts, by model or judge and prompt."""
    found: defaultdict[tuple[Kind, str], defaultdict[int, _Call]] = defaultdict(lambda: defaultdict(_Call))
    connection = transaction.ledger.connection
    usage = ("tokens_in", "tokens_out", "tokens_cached", "cost_usd", "latency_s")
    of_models = select(responses.c.prompt, responses.c.model, *(responses.c[name] for name in usage))
    for row in rows_in(connection, of_models, responses.c.prompt, among):
        _add(found["model", row.model][row.prompt], row, pool.prices.get(row.model))
    of_judges = select(pairs.c.prompt, verdicts.c.judge, *(verdicts.c[name] for name in usage))
    of_judges = of_judges.join(pairs, pairs.c.id == verdicts.c.pair)
    for row in rows_in(connection, of_judges, pairs.c.prompt, among):
        _add(found["judge", row.judge][row.prompt], row, pool.prices.get(row.judge))
    return found


def _add(call: _Call, row: Any, price: Any) -> None:
    if row.latency_s is None and row.tokens_in is None and row.tokens_out is None:
        return  # a given response
    cost = money(price, row.cost_usd, Usage(row.tokens_in, row.tokens_out, row.tokens_cached))
    call.calls += 1
    call.tokens_in += row.tokens_in or 0
    call.tokens_out += row.tokens_out or 0
    call.known = call.known and cost is not None
    call.cost += cost or 0.0


def _from_stream(
    kind: Kind, name: str, among: Mapping[int, int], of_name: Mapping[int, _Call], xs: Sequence[float]
) -> Part:
    """By prompt, prompts that it was not asked about included: yield and planning are in the measure."""
    none = _Call()

    def total(of: Callable[[_Call], float]) -> tuple[float, float]:
        return Fit.of([(float(x), of(of_name.get(id_, none))) for id_, x in among.items()]).total(xs)

    known = all(call.known for call in of_name.values())
    cost, variance = total(lambda call: call.cost)
    calls, tokens_in, tokens_out = (
        total(of)[0] for of in (lambda c: c.calls, lambda c: c.tokens_in, lambda c: c.tokens_out)
    )
    assumes = f"measured on {len(among):,} prompts of this stream"
    return Part(
        kind, name, "stream", calls, tokens_in, tokens_out, max(0.0, cost) if known else None, variance, assumes
    )


def _from_store(
    transaction: Transaction, pool: Pool, kind: Kind, name: str, per_prompt: float, xs: Sequence[float]
) -> Part | None:
    """By call, from the newest calls in any stream; None where there are too few."""
    usage = ("tokens_in", "tokens_out", "tokens_cached", "cost_usd")
    length = func.length(prompts.c.messages).label("length")
    if kind == "model":
        query = select(length, *(responses.c[name_] for name_ in usage)).join(
            prompts, prompts.c.id == responses.c.prompt
        )
        query = query.where(responses.c.model == name).order_by(responses.c.id.desc())
    else:
        query = select(length, *(verdicts.c[name_] for name_ in usage)).join(pairs, pairs.c.id == verdicts.c.pair)
        query = query.join(prompts, prompts.c.id == pairs.c.prompt)
        query = query.where(verdicts.c.judge == name).order_by(verdicts.c.id.desc())
    price = pool.prices.get(name)
    rows = [
        (float(row.length), cost, row.tokens_in or 0, row.tokens_out or 0)
        for row in transaction.ledger.connection.execute(query.limit(_NEWEST))
        if (cost := money(price, row.cost_usd, Usage(row.tokens_in, row.tokens_out, row.tokens_cached))) is not None
    ]
    if len(rows) < _ENOUGH:
        return None
    cost, variance = Fit.of([(row[0], row[1]) for row in rows]).total(xs)
    tokens = [per_prompt * Fit.of([(row[0], row[index]) for row in rows]).total(xs)[0] for index in (2, 3)]
    assumes = f"measured on {len(rows):,} calls of other streams; {per_prompt:g} calls a prompt by the settings"
    # How many calls there will be is not measured: a quarter of them may be missing, or more.
    unsure = (0.25 * per_prompt * cost / _Z95) ** 2
    total = max(0.0, per_prompt * cost)
    return Part(
        kind,
        name,
        "store",
        per_prompt * len(xs),
        tokens[0],
        tokens[1],
        total,
        per_prompt**2 * variance + unsure,
        assumes,
    )


def _from_prices(
    pool: Pool, stream: str, kind: Kind, name: str, spec: ModelSpec, per_prompt: float, xs: Sequence[float]
) -> Part:
    """By the price, with as many tokens as the settings allow: an upper end."""
    limit = _DEFAULT_TOKENS if spec.max_tokens == "default" else spec.max_tokens
    read = sum(xs) / _CHARACTERS_PER_TOKEN
    if kind == "judge":
        answers = [pool.models[model].max_tokens for model in pool.stream_models(stream)]
        longest = max((_DEFAULT_TOKENS if tokens == "default" else tokens for tokens in answers), default=0)
        read += len(xs) * (_JUDGE_INSTRUCTIONS + 2 * longest)
    calls = per_prompt * len(xs)
    tokens_in, tokens_out = per_prompt * read, calls * limit
    assumes = f"nothing is measured: {_CHARACTERS_PER_TOKEN:g} characters a token, max_tokens = {limit} written a call"
    one = Usage(round(read / max(1, len(xs))), limit)
    each = Pricing(pool).price(kind, name, one).cost_usd
    if each is None:
        return Part(kind, name, "unknown", calls, tokens_in, tokens_out, None, 0.0, "no price")
    return Part(kind, name, "prices", calls, tokens_in, tokens_out, calls * each, 0.0, assumes)
