"""What an export reads: decisive pairs with their prompt and responses, as far as a filter keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Double, case, func, literal, select

from karma.config.derived_streams import MARK
from karma.messages import FINISH_PREFIXES, UNFINISHED
from karma.store.export_filter import ExportFilter
from karma.store.pair_rows import IS_SURE, IS_UNSURE
from karma.store.schema import pairs, prompts, resolutions, responses

_LIKELIER = case((resolutions.c.probability > 0.5, resolutions.c.probability), else_=1.0 - resolutions.c.probability)
#: P(the chosen response is better) of a predicted label: P(not a tie) × P(better | not a tie).
_CERTAINTY = (1.0 - func.coalesce(pairs.c.predicted_tie, 0.0)) * _LIKELIER


def rows(
    connection: Connection,
    after: int,
    limit: int,
    kept: ExportFilter,
    since: float | None = None,
    among: Sequence[int] | None = None,
) -> list[Any]:
    """Up to `limit` decisive pairs with ids above `after`, in order of their ids, with the columns of exports.

    With `since`, only those that were resolved at that time (seconds since 1970) or later; with `among`, only of these
    pairs.
    """
    chosen, rejected = responses.alias("chosen_response"), responses.alias("rejected_response")
    query = (
        select(
            pairs,
            resolutions.c.chosen,
            resolutions.c.rejected,
            resolutions.c.probability,
            resolutions.c.flipped,
            resolutions.c.label_source,
            resolutions.c.resolved_at,
            prompts.c.stream,
            prompts.c.prompt_id,
            prompts.c.messages,
            prompts.c.skill,
            prompts.c.metadata,
            chosen.c.text.label("chosen_text"),
            rejected.c.text.label("rejected_text"),
            chosen.c.model.label("chosen_model"),
            rejected.c.model.label("rejected_model"),
            *(
                side.c[name].label(f"{label}_{name}")
                for label, side in (("chosen", chosen), ("rejected", rejected))
                for name in ("tokens_in", "tokens_out", "tokens_cached", "cost_usd", "finish_reason")
            ),
            chosen.c.reasoning.is_not(None).label("chosen_has_reasoning"),
            rejected.c.reasoning.is_not(None).label("rejected_has_reasoning"),
        )
        .join(resolutions, resolutions.c.pair == pairs.c.id)
        .join(prompts, prompts.c.id == pairs.c.prompt)
        .join(chosen, chosen.c.id == resolutions.c.chosen)
        .join(rejected, rejected.c.id == resolutions.c.rejected)
        .where(pairs.c.id > after)
        .order_by(pairs.c.id)
        .limit(limit)
    )
    if among is not None:
        query = query.where(pairs.c.id.in_(among))
    if since is not None:  # by the index of their times, of which there are few
        query = query.where(pairs.c.id.in_(select(resolutions.c.pair).where(resolutions.c.resolved_at >= since)))
    if kept.max_length_ratio is not None:
        query = query.where(_are_near(chosen, rejected, kept.max_length_ratio))
    return list(connection.execute(query.where(*_conditions(kept, chosen, rejected))).all())


def newest(connection: Connection) -> float:
    """When the newest pair was resolved, seconds since 1970; 0 without any."""
    return float(connection.execute(select(func.max(resolutions.c.resolved_at))).scalar_one() or 0.0)


def too_unequal(connection: Connection, kept: ExportFilter) -> int:
    """The number of preferences that the filter leaves out for the lengths of their responses alone."""
    if kept.max_length_ratio is None:
        return 0
    chosen, rejected = responses.alias("chosen_response"), responses.alias("rejected_response")
    query = (
        select(func.count())
        .select_from(pairs)
        .join(resolutions, resolutions.c.pair == pairs.c.id)
        .join(prompts, prompts.c.id == pairs.c.prompt)
        .join(chosen, chosen.c.id == resolutions.c.chosen)
        .join(rejected, rejected.c.id == resolutions.c.rejected)
        .where(*_conditions(kept, chosen, rejected), ~_are_near(chosen, rejected, kept.max_length_ratio))
    )
    return int(connection.execute(query).scalar_one())


def uncertain_labels(connection: Connection, kept: ExportFilter) -> int:
    """The number of predicted labels that the filter leaves out because they are too uncertain."""
    query = (
        select(func.count())
        .select_from(pairs)
        .join(resolutions, resolutions.c.pair == pairs.c.id)
        .join(prompts, prompts.c.id == pairs.c.prompt)
        .where(resolutions.c.label_source == "predicted", ~_certain(kept), _of_stream(kept))
    )
    if kept.policies:
        query = query.where(pairs.c.policy.in_(kept.policies))
    if kept.skills:
        query = query.where(prompts.c.skill.in_(kept.skills))
    return int(connection.execute(query).scalar_one())


def _conditions(kept: ExportFilter, chosen: Any, rejected: Any) -> Iterator[ColumnElement[bool]]:
    """What the filter asks of a resolved pair and its two responses, but for their lengths."""
    yield resolutions.c.outcome == "decisive"
    yield _of_stream(kept)
    if kept.finished:
        yield from (_ended_by_itself(side.c.finish_reason) for side in (chosen, rejected))
    if kept.policies:
        yield pairs.c.policy.in_(kept.policies)
    if kept.skills:
        yield prompts.c.skill.in_(kept.skills)
    if kept.label_source is not None:
        yield resolutions.c.label_source == kept.label_source
    if kept.least_predicted > 0.5:
        yield (resolutions.c.label_source == "judge") | _certain(kept)
    if kept.least_probability > 0.5:
        sure = resolutions.c.probability >= kept.least_probability
        yield sure | (resolutions.c.probability <= 1.0 - kept.least_probability)


def _are_near(chosen: Any, rejected: Any, most: float) -> ColumnElement[bool]:
    """Whether the longer text has at most `most` times the characters of the shorter one, as when pairs are formed."""
    first, second = func.length(chosen.c.text), func.length(rejected.c.text)
    times = literal(most, Double)
    return (first <= times * second) & (second <= times * first)


def _ended_by_itself(finish_reason: Any) -> Any:
    """Whether a response was neither cut nor filtered, as `karma.llm.finish.finish_of` has it."""
    name = func.replace(func.replace(func.lower(func.trim(func.coalesce(finish_reason, ""))), "-", "_"), " ", "_")
    names = sorted(f"{prefix}{each}" for prefix in ("", *FINISH_PREFIXES) for each in UNFINISHED)
    return name.not_in(names) & ~name.startswith("content_filter:", autoescape=True)


def _certain(kept: ExportFilter) -> ColumnElement[bool]:
    """Whether the filter lets a predicted label through.

    Where the posterior was asked, its answer holds. The prompt's other verdicts may have changed the label since.
    """
    certain = kept.least_predicted <= _CERTAINTY
    if kept.least_sure is None:
        return certain
    return (IS_SURE & (kept.least_sure <= _LIKELIER)) | (~IS_SURE & ~IS_UNSURE & certain)


def _of_stream(kept: ExportFilter) -> ColumnElement[bool]:
    derived = prompts.c.stream.contains(MARK, autoescape=True)
    return ~derived if kept.stream is None else prompts.c.stream == kept.stream
