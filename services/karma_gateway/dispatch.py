"""The dispatcher: admits accepted prompts to the pipeline, within a window over all and a limit per model."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from karma import metrics
from karma.competencies import Competencies
from karma.conveyor import Conveyor
from karma.pool import Pool
from karma.seeds import seed_of
from karma.store import Store, Transaction
from karma.store.records import BatchLimits, Work
from karma_gateway.planning import Plan, PlannedPrompt, plan


class Dispatcher:
    """Takes prompts from `accepted` to `dispatched`. Any number of gateways may each run one."""

    def __init__(self, store: Store, pool: Pool, conveyor: Conveyor) -> None:
        self._store = store
        self._pool = pool
        self._conveyor = conveyor
        self._competencies = Competencies()
        self._limits = BatchLimits(pool.pipeline.batch_items, pool.pipeline.batch_bytes)
        self.prompts_wait = False  # whether the last call left prompts behind for want of room

    def admit(self) -> int:
        """Admit what there is room for, up to one planning batch; returns how many prompts were admitted."""
        self.prompts_wait = False
        with self._store.reading() as transaction:
            if not transaction.ledger.has_accepted():
                return 0
        admitted: dict[str, int] = defaultdict(int)
        with self._store.transaction() as transaction:
            ledger = transaction.ledger
            room = min(self._pool.pipeline.window - ledger.in_flight(), self._pool.pipeline.plan_prompts)
            stalled: set[str] = set()
            while room > 0:
                rows = ledger.waiting(room, stalled)
                if not rows:
                    break
                for (stream, priority), group in _by_stream(rows).items():
                    count = self._dispatch(transaction, stream, priority, group)
                    admitted[stream] += count
                    room -= count
                    if count < len(group):
                        stalled.add(stream)
            opened = list(transaction.work.opened)
        self.prompts_wait = room <= 0 or bool(stalled)
        for stream, count in admitted.items():
            metrics.PROMPTS_DISPATCHED.labels(stream).inc(count)
        self._conveyor.send(opened)
        return sum(admitted.values())

    def _dispatch(self, transaction: Transaction, stream: str, priority: int, rows: list[Any]) -> int:
        given = [row for row in rows if row.given]
        asked = [row for row in rows if not row.given]
        return self._score(transaction, stream, priority, given) + self._ask(transaction, stream, priority, asked)

    def _score(self, transaction: Transaction, stream: str, priority: int, rows: list[Any]) -> int:
        """Prompts that came with their responses go straight to scoring."""
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
        """Plan which models answer, among those that have room for more work."""
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
        settings = self._pool.stream(stream)
        return plan(
            [PlannedPrompt(seed_of(row.stream, row.prompt_id, "plan"), row.skill) for row in rows],
            models,
            settings.policy,
            settings.responses_per_prompt,
            self._competencies.newest(transaction),
            settings.target,
            settings.explore_share,
        )


def _by_stream(rows: list[Any]) -> dict[tuple[str, int], list[Any]]:
    groups: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for row in rows:
        groups[row.stream, row.priority].append(row)
    return groups
