"""The reasons of failures: how often a model, a judge or the pipeline itself failed, why, and what helps.

A stored reason is a text that may quote an endpoint or an answer. Reasons that begin alike and are of one kind count
as one; its example is the most frequent wording.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, func, select

from karma.store.prompt_states import IS_DEAD
from karma.store.schema import pairs, prompts, responses, verdicts
from karma.telemetry.failure_kinds import kind_of

#: Characters of a reason by which the database groups.
_HEAD = 48
_SHOWN_CHARACTERS = 200

Of = Literal["model", "judge", "prompts"]

#: What helps against failures with an HTTP status, and against kinds of failures.
_HELP_FOR_STATUS = {
    "400": "the endpoint refuses a setting: see the model's keys and options in the pool file",
    "401": "the key is missing or wrong: check api_key_env and the variable that it names",
    "403": "the key may not use this model",
    "404": "check base_url, which usually ends with /v1, and the model's name",
    "422": "the endpoint refuses a setting: see the model's keys and options in the pool file",
}
_HELP_FOR_KIND = {
    "rate_limited": "lower concurrency or raise rate_limit_wait_s, then karma requeue failed",
    "server_error": "see the endpoint's own log; does base_url end with /v1, and does the endpoint know the model?",
    "timeout": "raise timeout_s or lower max_tokens, then karma requeue failed",
    "connection": "is the endpoint running at base_url? Then karma requeue failed",
    "redirect": "give the address that it redirects to as base_url",
    "refused": "check base_url, which usually ends with /v1, and the model's name",
    "empty": "the model ended at once: see its chat template, or let another model answer",
    "missing_key": "set the variable where the worker runs, restart it, then karma requeue failed",
    "too_large": "lower max_tokens",
    "unparsable": "raise the judge's max_tokens, or take a model that follows the verdict's form",
    "unsound": "the judge computes no probability: see its options",
    "does_not_fit": "the text is longer than the model's context: shorten prompts or max_tokens",
    "nothing_to_go_by": "give prompts a `reference`, or name another judge for this stream",
    "given_up": "the worker died in mid-batch, perhaps for memory: see its log",
    "quota": "the provider's account is out of quota: raise it there, then karma requeue failed",
    "model_refusal": "the model declined the prompt: karma requeue asks again, another model may answer",
    "unfinished": "then karma requeue failed",
    "content_filter": "the endpoint's filter stopped the prompt or its answer: see its settings",
    "prompt_cut": "the prompt is longer than the endpoint's context: raise the context there or shorten prompts",
    "broken": "see the log of the worker that made the call",
}
_HELP_FOR_HIDDEN = "raise max_tokens: a model that reasons may have spent all of them"
_HELP_OTHERWISE = "see the worker's log; karma requeue retries"


@dataclass(frozen=True)
class Reason:
    """A reason of failures.

    Attributes:
        of: whose calls failed; `prompts`: the pipeline's own attempts at prompts that are dead.
        name: of the model or judge; of dead prompts their stream.
        count: failed responses, verdicts or prompts.
        example: the most frequent wording, shortened.
        help: what helps.
    """

    of: Of
    name: str
    count: int
    example: str
    help: str

    def data(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def reasons(connection: Connection, among: ColumnElement[bool] | None = None) -> list[Reason]:
    """The reasons of all failures, the most frequent first; only those of prompts that meet the condition `among`."""
    judged = verdicts.join(pairs, pairs.c.id == verdicts.c.pair)
    sources: tuple[tuple[Of, Any, Any, Any, Any], ...] = (
        ("model", responses, responses.c.model, responses.c.failure, responses.c.prompt),
        ("judge", verdicts if among is None else judged, verdicts.c.judge, verdicts.c.failure, pairs.c.prompt),
        ("prompts", prompts, prompts.c.stream, prompts.c.error, prompts.c.id),
    )
    found = []
    for of, table, name, text, prompt in sources:
        columns = name.label("name"), func.min(text).label("example"), func.count().label("count")
        query = select(*columns).select_from(table).group_by(name, func.substr(text, 1, _HEAD))
        query = query.where(IS_DEAD if of == "prompts" else text.is_not(None))
        if among is not None:
            query = query.where(prompt.in_(select(prompts.c.id).where(among)))
        found += _merged(of, connection.execute(query))
    return sorted(found, key=lambda reason: (-reason.count, reason.of, reason.name, reason.example))


def help_for(failure: str) -> str:
    """What helps against a failure."""
    if kind_of(failure) == "empty" and "raise max_tokens" in failure:  # it was cut before any text
        return _HELP_FOR_HIDDEN
    return _HELP_FOR_STATUS.get(failure[:3]) or _HELP_FOR_KIND.get(kind_of(failure), _HELP_OTHERWISE)


def _merged(of: Of, rows: Any) -> list[Reason]:
    """Rows whose reasons are of one kind, or begin alike where no kind is known, as one reason each."""
    wordings: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in rows:
        text = row.example or "unknown"
        kind = kind_of(text)
        if kind in ("other", "refused", "broken"):  # several reasons of one kind
            kind = f"{kind} {text[:_HEAD]}"
        wordings[row.name, kind][text] += row.count
    merged = []
    for (name, _kind), texts in wordings.items():
        example = " ".join(texts.most_common(1)[0][0].split())
        merged.append(Reason(of, name, texts.total(), example[:_SHOWN_CHARACTERS], help_for(example)))
    return merged
