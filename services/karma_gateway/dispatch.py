"""The dispatcher: admits accepted prompts, within the window of all streams and the limit of each model.

The highest priority goes first; streams of the same priority get fair shares (`karma_gateway.fairness`).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import InitVar, dataclass, field

from karma.config.pool import Pool
from karma.queue.fault_injection import reach
from karma.queue.outbox import Outbox
from karma.seeds import seed_of
from karma.store import Store, Transaction
from karma.store.admission import Waiting, Wanting
from karma.store.latest_snapshot import LatestSnapshot
from karma.store.records import BatchLimits, OpenItem, Work
from karma.store.schema import EVERYTHING
from karma.store.streams import paused, record_goal
from karma.telemetry import metrics
from karma_gateway.admission.budgets import BudgetRoom
from karma_gateway.admission.until import UntilLimits, UntilRoom
from karma_gateway.fairness.shares import is_below_share, is_express, next_places
from karma_gateway.planning import Plan, PlannedPrompt, can_pair, plan

#: The state of a prompt with open work, by the stage of that work.
_WORKS_ON = {"generate": "dispatched", "score": "dispatched", "match": "answered", "judge": "matched"}


@dataclass
class _Round:
    """One call of `Dispatcher.admit` within its transaction."""

    transaction: Transaction
    closed: Collection[str]  # models and judges that must not be asked
    pool: Pool
    in_flight: InitVar[Mapping[str, int]]
    passed_over: set[str]  # streams that get nothing more
    limits: Collection[BudgetRoom | UntilRoom]
    held: Counter[str] = field(init=False)  # prompts in flight per stream
    admitted: Counter[str] = field(default_factory=Counter)
    is_full: bool = False  # whether prompts wait for room

    def __post_init__(self, in_flight: Mapping[str, int]) -> None:
        self.held = Counter(in_flight)

    def weights(self, more: Iterable[str]) -> dict[str, float]:
        """The weights of all streams with prompts in flight, and of `more`."""
        return {name: self.pool.stream(name).weight for name in {*self.held, *more}}


class Dispatcher:
    """Moves prompts from `accepted` to `dispatched`. Any number of gateways may each run one."""

    def __init__(
        self,
        store: Store,
        pool: Pool,
        outbox: Outbox,
        has_room: Callable[[], bool] = lambda: True,
        closed: Callable[[], Mapping[str, str]] = lambda: {},
    ) -> None:
        """`closed` says which models and judges must not be asked now, and why."""
        self._has_room = has_room
        self._closed = closed
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
        closed = self._closed().keys()
        if not self._may_admit(closed):
            return 0
        if not self._has_room():
            self.prompts_wait = True
            return 0
        with self._store.transaction() as transaction:
            round_ = self._round(transaction, closed) if transaction.ledger.begin_admission() else None
            if round_ is None:  # another gateway admits now
                self.prompts_wait = True
                return 0
            while round_.admitted.total() < self._pool.pipeline.plan_prompts and self._share_out(round_):
                pass
            opened = list(transaction.work.opened)
            reach("dispatch.before_commit")
        reach("dispatch.after_commit")
        self.prompts_wait = round_.is_full or round_.admitted.total() >= self._pool.pipeline.plan_prompts
        for stream, count in round_.admitted.items():
            metrics.PROMPTS_DISPATCHED.labels(stream).inc(count)
        self._outbox.send(opened)
        return round_.admitted.total()

    def _round(self, transaction: Transaction, closed: Collection[str]) -> _Round | None:
        """A round in a transaction; None while all streams are paused."""
        stopped = paused(transaction.ledger.connection)
        if EVERYTHING in stopped:
            return None
        limits = BudgetRoom(transaction, self._pool), self._until.room(transaction)
        return _Round(transaction, closed, self._pool, transaction.ledger.in_flight(closed), set(stopped), limits)

    def _may_admit(self, closed: Collection[str]) -> bool:
        """Whether a round has a prompt to admit, as far as it can be seen without locks.

        While the pipeline is full most rounds have none, and wait for no writer to find that out.
        """
        with self._store.reading() as transaction:
            round_ = self._round(transaction, closed) if transaction.ledger.has_accepted() else None
            if round_ is None:
                self.prompts_wait = False
                return False
            may_admit = self._finds_any(round_)
            self.prompts_wait = round_.is_full
        return may_admit

    def _finds_any(self, round_: _Round) -> bool:
        ledger = round_.transaction.ledger
        while places := self._places(round_):
            for stream, room in places:
                allowed = self._allowed(round_, stream.name, room)
                if allowed and self._can_ask(stream, self._models_with_room(round_, stream.name)):
                    return True
                if allowed and ledger.any_without_calls(stream.name, stream.priority, allowed):
                    return True
                round_.passed_over.add(stream.name)
                round_.is_full = True
        return False

    def _places(self, round_: _Round) -> list[tuple[Wanting, int]]:
        """Streams of the highest priority and how many places each gets, the neediest first."""
        settings = self._pool.pipeline
        found = round_.transaction.ledger.wanting(round_.passed_over)
        wanting = {stream.name: stream for stream in found if not self._waits_for_judge(stream, round_)}
        if not wanting:
            return []
        priority = max(row.priority for row in wanting.values())
        first = [name for name, row in wanting.items() if row.priority == priority]
        most = settings.plan_prompts - round_.admitted.total()
        places = next_places(settings.window, most, round_.held, first, round_.weights(first))
        round_.is_full |= not places
        return [(wanting[name], room) for name, room in places.items()]

    def _allowed(self, round_: _Round, stream: str, wanted: int) -> int:
        """How many of `wanted` prompts the limits of a stream allow."""
        return max(0, min(limit.of(stream, wanted) for limit in round_.limits))

    def _share_out(self, round_: _Round) -> bool:
        """Admit prompts of the highest priority, in fair shares of its streams; returns whether more may follow."""
        places = self._places(round_)
        for stream, room in places:
            name = stream.name
            rows = round_.transaction.ledger.waiting(name, stream.priority, room)
            allowed = self._allowed(round_, name, len(rows))
            count = self._dispatch(round_, stream, rows[:allowed]) if rows and allowed else 0
            for limit in round_.limits:
                limit.take(name, count)
            round_.held[name] += count
            round_.admitted[name] += count
            round_.is_full |= count < len(rows)
            if count < len(rows) or not rows:  # its models have no room, or another gateway admits its prompts
                round_.passed_over.add(name)
        return bool(places)

    def _waits_for_judge(self, stream: Wanting, round_: _Round) -> bool:
        """Whether a judge of the stream must not be asked now."""
        return bool(round_.closed) and any(
            judge.name in round_.closed for judge in self._pool.stream_judges(stream.name)
        )

    def _dispatch(self, round_: _Round, stream: Wanting, rows: list[Waiting]) -> int:
        """Open the work of prompts of one stream and priority; returns how many were admitted."""
        transaction, name, priority = round_.transaction, stream.name, stream.priority
        if stream.goal is None:
            record_goal(transaction.ledger.connection, name, self._pool.stream(name).goal)
        transaction.work.express = is_express(name, len(rows), round_.held, round_.weights([name]))
        parked = transaction.work.parked([row.id for row in rows])
        self._resume(transaction, name, priority, parked)
        fresh = [row for row in rows if row.id not in parked]
        return (
            len(parked)
            + self._score(transaction, name, priority, [row for row in fresh if row.given])
            + self._ask(round_, stream, [row for row in fresh if not row.given])
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

    def _score(self, transaction: Transaction, stream: str, priority: int, rows: list[Waiting]) -> int:
        """Prompts with given responses go straight to scoring."""
        awaited: dict[int, int] = {}
        work = []
        for row in rows:
            responses = json.loads(row.given or "[]")
            awaited[row.id] = len(responses)
            work += [Work(row.id, model, sample, size=len(text)) for model, sample, text in responses]
        transaction.ledger.move(list(awaited), "dispatched", awaited)
        transaction.work.open("score", "", stream, priority, work, self._limits)
        return len(awaited)

    def _ask(self, round_: _Round, stream: Wanting, rows: list[Waiting]) -> int:
        """Open generations for prompts, by models with room for more work of their stream."""
        if not rows:
            return 0
        transaction, ledger = round_.transaction, round_.transaction.ledger
        models = self._models_with_room(round_, stream.name)
        if not self._can_ask(stream, models):
            return 0
        plans = self._plan(transaction, stream, rows, models)
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
            transaction.work.open("generate", model, stream.name, stream.priority, work[model], self._limits)
        return len(awaited)

    def _models_with_room(self, round_: _Round, stream: str) -> list[str]:
        """The models that may be asked for more: with a free place, or with less than this stream's fair share of all.

        So a stream that came first and holds all of a model's places does not keep others from the model. A model's
        open work exceeds its limit by that share, and by the generations of one planning batch, at most.
        """
        work, limit = round_.transaction.work, self._pool.pipeline.model_limit
        models = [model for model in self._pool.stream_models(stream) if model not in round_.closed]
        open_work = work.open_by_target("generate")
        full = [model for model in models if open_work.get(model, 0) >= limit]
        is_alone = all(not held for name, held in round_.held.items() if name != stream)
        for model in [] if is_alone else full:
            held = work.open_by_stream("generate", model)
            if is_below_share(stream, limit, held, round_.weights([*held, stream])):
                full = [other for other in full if other != model]
        return [model for model in models if model not in full]

    def _can_ask(self, stream: Wanting, models: list[str]) -> bool:
        settings = self._pool.stream(stream.name, stream.goal)
        return can_pair(models, settings.policy, settings.target)

    def _plan(self, transaction: Transaction, stream: Wanting, rows: list[Waiting], models: list[str]) -> Plan:
        settings = self._pool.stream(stream.name, stream.goal)
        return plan(
            [PlannedPrompt(seed_of(stream.name, row.prompt_id, "plan"), row.skill) for row in rows],
            models,
            settings.policy,
            settings.responses_per_prompt,
            self._competencies.newest(transaction).with_kinship(settings.kinship),
            settings.target,
            settings.explore_share,
        )
