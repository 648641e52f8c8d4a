"""The dispatcher: admits accepted prompts, within the window of all streams and the limit of each model."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from karma.config.pool import Pool
from karma.queue.fault_injection import reach
from karma.queue.outbox import Outbox
from karma.seeds import seed_of
from karma.store import Store, Transaction
from karma.store.latest_snapshot import LatestSnapshot
from karma.store.records import BatchLimits, OpenItem, Work
from karma.store.schema import EVERYTHING
from karma.store.streams import paused, record_goal
from karma.telemetry import metrics
from karma_gateway.admission.budgets import BudgetRoom
from karma_gateway.admission.until import UntilLimits, UntilRoom
from karma_gateway.planning import Plan, PlannedPrompt, plan

#: The state of a prompt with open work, by the stage of that work.
_WORKS_ON = {"generate": "dispatched", "score": "dispatched", "match": "answered", "judge": "matched"}


class Dispatcher:
    """Moves prompts from `accepted` to `dispatched`. Any number of gateways may each run one."""

    def __init__(self, store: Store, pool: Pool, outbox: Outbox, has_room: Callable[[], bool] = lambda: True) -> None:
        self._has_room = has_room
        self._store = store
        self._pool = pool
        self._outbox = outbox
        self._competencies = LatestSnapshot()
        self._limits = BatchLimits(pool.pipeline.batch_items, pool.pipeline.batch_bytes)
        self._until = UntilLimits()
        self.prompts_wait = False  # whether the last call left prompts waiting for room

    def admit(self) -> int:
        """Admit as many prompts as there is room for, up to one planning batch; paused streams are skipped.

        Returns:
            The number of prompts that were admitted.

        Raises:
            OutageError: the store or Redis is unavailable; the sweeper publishes batches that were opened before.
        """
        self.prompts_wait = False
        with self._store.reading() as transaction:
            if not transaction.ledger.has_accepted() or EVERYTHING in paused(transaction.ledger.connection):
                return 0
        if not self._has_room():
            self.prompts_wait = True
            return 0
        admitted: dict[str, int] = defaultdict(int)
        with self._store.transaction() as transaction:
            ledger = transaction.ledger
            stopped = paused(ledger.connection)
            if EVERYTHING in stopped:
                return 0
            room = min(self._pool.pipeline.window - ledger.in_flight(), self._pool.pipeline.plan_prompts)
            stalled: set[str] = set()
            limits: list[BudgetRoom | UntilRoom] = [BudgetRoom(transaction, self._pool), self._until.room(transaction)]
            while room > 0:
                rows = ledger.waiting(room, stalled.union(stopped))
                if not rows:
                    break
                for (stream, priority), group in _by_stream(rows).items():
                    allowed = min(limit.of(stream, len(group)) for limit in limits)
                    count = self._dispatch(transaction, stream, priority, group[:allowed]) if allowed > 0 else 0
                    for limit in limits:
                        limit.take(stream, count)
                    admitted[stream] += count
                    room -= count
                    if count < len(group):
                        stalled.add(stream)
            opened = list(transaction.work.opened)
            reach("dispatch.before_commit")
        reach("dispatch.after_commit")
        self.prompts_wait = room <= 0 or bool(stalled)
        for stream, count in admitted.items():
            metrics.PROMPTS_DISPATCHED.labels(stream).inc(count)
        self._outbox.send(opened)
        return sum(admitted.values())

    def _dispatch(self, transaction: Transaction, stream: str, priority: int, rows: list[Any]) -> int:
        if rows[0].goal is None:
            record_goal(transaction.ledger.connection, stream, self._pool.stream(stream).goal)
        parked = transaction.work.parked([row.id for row in rows])
        self._resume(transaction, stream, priority, parked)
        fresh = [row for row in rows if row.id not in parked]
        return (
            len(parked)
            + self._score(transaction, stream, priority, [row for row in fresh if row.given])
            + self._ask(transaction, stream, priority, [row for row in fresh if not row.given])
        )

    def _resume(self, transaction: Transaction, stream: str, priority: int, parked: dict[int, list[OpenItem]]) -> None:
        """Requeued prompts continue with their parked work."""
        by_address: dict[tuple[str, str], list[OpenItem]] = defaultdict(list)
        for prompt, items in parked.items():
            stage = items[0].stage
            awaited = len({item.pair for item in items}) if stage == "judge" else len(items) if stage != "match" else 0
            transaction.ledger.move([prompt], _WORKS_ON[stage], {prompt: awaited})
            for item in items:
                by_address[item.stage, "" if stage in ("score", "match") else item.target].append(item)
        for address in sorted(by_address):
            transaction.work.unpark(by_address[address], stream, priority, self._limits)

    def _score(self, transaction: Transaction, stream: str, priority: int, rows: list[Any]) -> int:
        """Prompts with given responses go straight to scoring."""
        awaited: dict[int, int] = {}
        work = []
        for row in rows:
            responses = json.loads(row.given)
            awaited[row.id] = len(responses)
            work += [Work(row.id, model, sample, size=len(text)) for model, sample, text in responses]
        transaction.ledger.move(list(awaited), "dispatched", awaited)
        transaction.work.open("score", "", stream, priority, work, self._limits)
        return len(awaited)

    def _ask(self, transaction: Transaction, stream: str, priority: int, rows: list[Any]) -> int:
        """Open generations for prompts, by models with room for more work."""
        if not rows:
            return 0
        ledger = transaction.ledger
        open_work = transaction.work.open_by_target("generate")
        room = {
            model: self._pool.pipeline.model_limit - open_work.get(model, 0)
            for model in self._pool.stream_models(stream)
        }
        plans = self._plan(transaction, stream, rows, [model for model, left in room.items() if left > 0])
        awaited: dict[int, int] = {}
        work: dict[str, list[Work]] = defaultdict(list)
        for row, chosen in zip(rows, plans, strict=True):
            if not chosen:
                continue
            awaited[row.id] = len(chosen)
            for model, sample in chosen:
                work[model].append(Work(row.id, sample=sample, size=row.size))
        ledger.move(list(awaited), "dispatched", awaited)
        for model in sorted(work):
            transaction.work.open("generate", model, stream, priority, work[model], self._limits)
        return len(awaited)

    def _plan(self, transaction: Transaction, stream: str, rows: list[Any], models: list[str]) -> Plan:
        settings = self._pool.stream(stream, rows[0].goal)
        return plan(
            [PlannedPrompt(seed_of(row.stream, row.prompt_id, "plan"), row.skill) for row in rows],
            models,
            settings.policy,
            settings.responses_per_prompt,
            self._competencies.newest(transaction).with_kinship(settings.kinship),
            settings.target,
            settings.explore_share,
        )


def _by_stream(rows: list[Any]) -> dict[tuple[str, int], list[Any]]:
    groups: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for row in rows:
        groups[row.stream, row.priority].append(row)
    return groups
