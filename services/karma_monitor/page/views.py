"""The answers to the page's requests, as plain data. Texts are as stored: the front end makes them safe."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from karma.errors import OutageError
from karma.messages import JudgeSpec
from karma.queue.redis import outages
from karma.store import Store
from karma.store.latest_snapshot import LatestSnapshot
from karma_monitor.explain import explain
from karma_monitor.explanation import sentences
from karma_monitor.figures.quality import TieMargin
from karma_monitor.live_status import LiveStatus
from karma_monitor.page.models import Leaderboards
from karma_monitor.page.quality import QualityView
from karma_monitor.queries.pair_search import PairFilter, count_dead, dead_prompts, newest_pair, pairs_between
from karma_monitor.queries.recent import failed_responses, failed_verdicts, unscored_pairs

#: A request searches at most so many pairs, for about so long.
SEARCHED_PAIRS = 20_000
_SEARCH_S = 0.1

#: Pairs in the first step of a search; a later step has as many as take about so long.
_FIRST_STEP = 250
_STEP_S = 0.03

_CHARACTERS = 300
_FAILURES = 500
_SHOWN_REASONS = 50


class Views:
    """Every answer. Any number of threads may call at once."""

    def __init__(
        self, store: Store, redis: Any | None, live: LiveStatus, tie_margin: TieMargin, judges: Iterable[JudgeSpec] = ()
    ) -> None:
        self._store = store
        self._redis = redis
        self._live = live
        self._judges = tuple(judges)
        self._competencies = LatestSnapshot()
        self._leaderboards = Leaderboards(store, live)
        self._quality = QualityView(store, live, tie_margin)
        self._competencies = LatestSnapshot()

    def live_status(self) -> dict[str, Any]:
        """The live status."""
        return self._live.read()

    def models(self, skill: str | None) -> dict[str, Any]:
        """The models in a skill; None is overall."""
        return self._leaderboards.read(skill)

    def quality(self, stream: str | None) -> dict[str, Any]:
        """Pair-quality statistics of a stream, or of all."""
        return self._quality.read(stream)

    def pairs(self, wanted: PairFilter, before: int | None, limit: int) -> dict[str, Any]:
        """Pairs, newest first. A long search stops after a while; `next` is where to continue."""
        found: list[Any] = []
        with self._store.reading() as transaction:
            connection = transaction.ledger.connection
            deadline = time.monotonic() + _SEARCH_S  # without the wait for a connection
            top = newest_pair(connection)
            high = top if before is None else min(top, before - 1)
            start, step = high, max(limit, _FIRST_STEP)
            while high >= 1 and start - high < SEARCHED_PAIRS and len(found) < limit:
                began = time.monotonic()
                low = max(1, high - step + 1, start - SEARCHED_PAIRS + 1)
                room = limit - len(found)
                rows = pairs_between(connection, low, high, wanted, room)
                found += filter(wanted.is_met, rows)
                high = (rows[-1].pair if len(rows) == room else low) - 1
                step = int(step * min(4.0, max(0.25, _STEP_S / max(1e-6, time.monotonic() - began)))) + 1
                if time.monotonic() > deadline:
                    break
        return {
            "pairs": [_pair(row) for row in found],
            "next": high + 1 if high >= 1 else None,
            "searched": max(0, start - high),
        }

    def pair(self, number: int) -> dict[str, Any]:
        """Everything about a pair, and the same as sentences."""
        facts = explain(self._store, number, self._competencies, self._judges)
        return {**facts, "words": [line for line in sentences(facts, _CHARACTERS).splitlines() if line.strip()]}

    def dead(self, before: int | None, limit: int) -> dict[str, Any]:
        """Dead prompts."""
        with self._store.reading() as transaction:
            connection = transaction.ledger.connection
            rows = dead_prompts(connection, before, limit + 1)
            total = count_dead(connection)
        shown = [
            {
                "prompt": row.id,
                **{name: getattr(row, name) for name in ("stream", "prompt_id", "error", "accepted_at")},
                "text": _text(row.messages),
            }
            for row in rows[:limit]
        ]
        return {"dead": shown, "next": rows[limit - 1].id if len(rows) > limit else None, "total": total}

    def failures(self) -> dict[str, Any]:
        """The newest failures by reason."""
        with self._store.reading() as transaction:
            connection = transaction.ledger.connection
            return {
                "responses": _grouped("model", failed_responses(connection, _FAILURES)),
                "verdicts": _grouped("judge", failed_verdicts(connection, _FAILURES)),
                "unscored": _grouped("stream", unscored_pairs(connection, _FAILURES)),
            }

    def unavailable(self) -> list[str]:
        """The servers that are unavailable: store, redis."""
        found = []
        try:
            with self._store.reading() as transaction:
                transaction.ledger.connection.exec_driver_sql("SELECT 1")
        except OutageError:
            found.append("store")
        try:
            with outages():
                answers = self._redis is not None and self._redis.ping()
        except OutageError:
            answers = False
        return found if answers else [*found, "redis"]


def _grouped(by: str, rows: list[Any]) -> list[dict[str, Any]]:
    """The most frequent reasons, the first line of each, and the time of the newest."""
    counted: Counter[tuple[str, str]] = Counter()
    last: dict[tuple[str, str], float] = {}
    for row in rows:
        key = (row.name, (row.reason or "").partition("\n")[0][:_CHARACTERS])
        counted[key] += 1
        last[key] = max(row.at, last.get(key, row.at))
    return [
        {by: key[0], "reason": key[1], "count": number, "last_at": last[key]}
        for key, number in counted.most_common(_SHOWN_REASONS)
    ]


def _pair(row: Any) -> dict[str, Any]:
    found = dict(row._mapping)
    messages = found.pop("messages")
    del found["in_response"]
    flipped = found["flipped"]
    return {**found, "flipped": None if flipped is None else bool(flipped), "prompt": _text(messages)}


def _text(messages: str) -> str:
    """The beginning of the prompt's last message."""
    turns = json.loads(messages)
    return str(turns[-1]["content"])[:_CHARACTERS] if turns else ""
