"""The steps of a history, each done on every database and on the model, and then compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from msgspec.structs import replace

from karma.messages import Batch, GenerateBatch, JudgeBatch, LearnBatch, ScoreBatch
from karma.queue.claims import RELEASED
from karma.store import Store
from karma_gateway.sweeper import Loss
from tests.properties.ledger.database import CrashError, World
from tests.properties.ledger.histories import ANSWERS, VERDICTS, Message, Tally, commands, new_prompts, streams
from tests.properties.ledger.invariants import check
from tests.properties.ledger.model import Model
from tests.properties.ledger.records import ATTEMPTS, CONTENTS, LIMITS, NO_PAIR, Ref, Said
from tests.properties.ledger.weights import DIGITS


class Ledgers(RuleBasedStateMachine):
    """Commands; each is done on every database and on the model, and all are compared."""

    def __init__(self, stores: Sequence[Store], tally: Tally) -> None:
        super().__init__()
        self.model = Model(tally.met)
        self.worlds = [World(place, store, lambda: self.model.now) for place, store in enumerate(stores)]
        self.seen: list[Message] = []
        self.flying: list[Message] = []  # in Redis, or in hand
        self.tally = tally
        self.sound = True
        tally.histories += 1

    @initialize(stream=streams, lines=new_prompts)
    def begin(self, stream: str, lines: list[tuple[str, int]]) -> None:
        self.accept(stream, lines, 0)

    @rule(command=commands)
    def step(self, command: tuple[Any, ...]) -> None:
        """One rule for all, so that none is left out of a history: a prompt comes to its end by many together."""
        self.tally.steps += 1
        name, *given = command
        getattr(self, name)(*given)

    def accept(self, stream: str, lines: list[tuple[str, int]], priority: int) -> None:
        contents = [CONTENTS[content] | {"id": prompt_id} for prompt_id, content in lines]
        answers = [self.model.accept(stream, one["id"], one["prompt"], priority) for one in contents]
        expected = tuple(answers.count(answer) for answer in ("accepted", "present", "refused"))

        def enqueue(world: World) -> None:
            assert world.enqueue(stream, contents, priority) == expected

        self._do(enqueue)

    def admit(self, crash: str = "") -> None:
        self.model.admit()
        self._do(lambda world: world.dispatcher.admit(), crash)

    def arrive(self, picks: list[int], outcomes: list[int], whole: bool, crash: str) -> None:
        """Some messages are taken and worked on, in any order."""
        for pick in picks[: len(self.flying)]:
            self._work(self.flying.pop(pick % len(self.flying)), outcomes, whole, crash)

    def arrive_all(self, outcomes: list[int], whole: bool) -> None:
        """A quiet time: all that is in flight arrives, in the order of its sending."""
        flying, self.flying = self.flying, []
        for place, message in enumerate(flying):
            self._work(message, outcomes[place % len(outcomes) :] + outcomes, whole, "")

    def arrive_again(self, pick: int, is_in_vain: bool, outcomes: list[int], whole: bool, crash: str) -> None:
        """A duplicate, or the late work of somebody whose batch was given to another: for nothing, or not quite."""
        found = [message for message in self.seen if is_in_vain or any(map(self.model.is_open, message.refs))]
        if found:
            self._work(found[pick % len(found)], outcomes, whole, crash)

    def lose_one(self, pick: int) -> None:
        if self.flying:
            self.flying.pop(pick % len(self.flying))

    def lose_redis(self) -> None:
        self.flying.clear()

    def sweep(self, pick: int, why: str, times: int, crash: str) -> None:
        """A batch is taken for lost, whether it is or not; and so is the one that its first item is in then."""
        carried = self.worlds[0].carried
        number = sorted(carried)[pick % len(carried)] if carried else None
        first = carried[number][0] if number is not None else None
        for _time in range(times):
            if number is not None:
                self._sweep(number, why, crash)
            number = next((number for number, work in self.worlds[0].carried.items() if first in work), None)

    def sweep_what_was_read_before(self, pick: int, why: str, crash: str) -> None:
        """Of two sweepers one comes second: the batch may be gone, and its work elsewhere or done."""
        if self.worlds[0].rows:
            self._sweep(pick % len(self.worlds[0].rows), why, crash)

    def sweep_everything(self, crash: str = "") -> None:
        """All is taken for lost, and sent again in one go."""
        self._do(lambda world: world.sweep(sorted(world.carried), Loss("vanished")), crash)

    def fail_to_record(self, pick: int, error: str, late: bool, times: int) -> None:
        """Results in the hand of a worker that dies are delivered again, alone unless they were handed back."""
        flying = [message for message in self.flying if message.is_result]
        found = flying if flying and not late else [message for message in self.seen if message.is_result][-5:]
        for _time in range(times if found else 0):
            message = found[pick % len(found)]
            if message in self.flying:
                self.flying.remove(message)
            self.model.recording_failed(message.refs, error)
            awaited = [ref for ref in message.refs if self.model.is_awaited(ref)]
            before = len(self.seen)
            self._do(lambda world, message=message: world.redeliver(message.bodies[world.place], error))
            new = self.seen[before:]
            again = [ref for one in new for ref in one.refs]
            assert set(awaited) <= set(again) <= set(message.refs)
            assert len(new) == (len(again) if error != RELEASED else bool(again))
            found = new or found

    def requeue(self, what: str, stream: str | None) -> None:
        back = self.model.requeue(what, stream)

        def requeue(world: World) -> None:
            assert world.requeue(what, stream) == len(back)
            for key in back:
                del world.raw[key]

        self._do(requeue)

    def teardown(self) -> None:
        """Everything is driven to its end; what ended badly is brought back once and driven to the end again."""
        if not self.sound:
            return
        self._drive()
        for what in ("dead", "unanswered", "incomplete", "unscored"):
            self.requeue(what, None)
        ends = self._drive()
        assert not ends["dead"]
        self.tally.prompts += ends.total()

    def _drive(self) -> Counter[str]:
        """Nothing is lost any more, and every message comes once: then every accepted prompt ends."""
        for _round in range(100):
            flying, self.flying = self.flying, []
            for message in flying:
                self._work(message, [len(self.seen) % len(ANSWERS)], True, "")
            self.admit()
            if not self.flying:
                self.sweep_everything()
            if not self.flying:
                break
        ends = Counter(prompt.state for prompt in self.worlds[0].prompts.values())
        assert ends.keys() <= {"done", "dead"}, ends
        return ends

    # --- how a command is done ------------------------------------------------------------------------------------

    def _work(self, message: Message, outcomes: list[int], whole: bool, crash: str) -> None:
        if isinstance(message.bodies[0], GenerateBatch | JudgeBatch):
            says = [_say(ref, outcomes[place % len(outcomes)]) for place, ref in enumerate(message.refs)]
            places = range(len(says))
            for part in [list(places)] if whole else [[place] for place in places]:
                said = tuple(says[place] for place in part)
                bodies = tuple(self._result(body, part, said) for body in message.bodies)
                self._fly(Message(tuple(message.refs[place] for place in part), said, bodies))
            return
        if crash != "before the commit":
            number = self.worlds[0].number(message.bodies[0])
            self.model.record(message.refs, message.says, self.worlds[0].carried.get(number, ()))
        self._do(lambda world: world.handle(message.bodies[world.place]), crash)

    def _result(self, asked: Batch, part: Sequence[int], said: Sequence[Said]) -> Batch:
        """What comes back for a part of a message; another process may judge by another template."""
        flow, number = self.worlds[0], len(self.seen)
        header = replace(asked.header, part=number)
        items = [(replace(asked, items=(asked.items[place],)), *one) for place, one in zip(part, said, strict=True)]
        if isinstance(asked, GenerateBatch):
            return ScoreBatch(header=header, items=tuple(flow.answer(*item).items[0] for item in items))
        verdicts = [flow.judge(*item).items[0] for item in items]
        changed = [replace(verdict, template_hash=f"template {number % 2}") for verdict in verdicts]
        return LearnBatch(header=header, items=tuple(changed))

    def _sweep(self, number: int, why: str, crash: str) -> None:
        world = self.worlds[0]
        # No heartbeat expires on a batch that was never sent, and results in hand are delivered again instead.
        is_silent = why == "silent" and world.rows[number].stage != "score"
        if is_silent and number in world.published:
            self.model.retry(world.carried[number], "the worker's heartbeat expired")
        loss = Loss(why, "the worker's heartbeat expired" if is_silent else None)
        alone = world.carried[number] if is_silent and number in world.published else []
        self._do(lambda world: world.sweep([number], loss), crash)
        assert all(work[0] not in alone or len(work) == 1 for work in world.carried.values())

    def _do(self, act: Callable[[World], object], crash: str = "") -> None:
        self.sound = False
        self.tally.comparisons += 1
        for world in self.worlds:
            world.crash, world.out = crash, []
            with suppress(CrashError):
                act(world)
            ended = world.raw
            world.look()
            assert {key: world.raw.get(key) for key in ended} == ended, "what has ended was changed"
            check(world.prompts, world.counts)
            assert world.prompts == self.model.prompts
            assert _rounded(world.counts) == _rounded(self.model.counts)
            if not crash:
                sent = {world.number(body) for body in world.out if not isinstance(body, ScoreBatch | LearnBatch)}
                assert sent & world.carried.keys() <= world.published
        first, *others = self.worlds
        for other in others:
            assert (other.carried, other.published) == (first.carried, first.published)
        for bodies in zip(*(world.out for world in self.worlds), strict=True):
            self._file(bodies)
        if self.tally.trace is not None:
            self.tally.trace.append(repr((self.model.prompts, first.carried, [one.refs for one in self.flying])))
        self.model.now += 600.0
        self.sound = True

    def _file(self, bodies: tuple[Batch, ...]) -> None:
        """A message was published: the same in every database, about work that is open, and with the stored texts."""
        first, *others = [world.read(body) for world, body in zip(self.worlds, bodies, strict=True)]
        assert others == [first] * len(others)
        assert 0 < len(first) <= LIMITS.items
        for key, item, said in first:
            if isinstance(bodies[0], GenerateBatch | JudgeBatch):
                assert self.model.prompts[key].open[item].attempts < ATTEMPTS
            if isinstance(bodies[0], JudgeBatch):
                shown = item.pair if item.shown == 0 else (item.pair or NO_PAIR)[::-1]
                assert said == tuple(self.model.prompts[key].responses[side][0] for side in shown or ())
        refs = tuple(Ref(key, item, self.model.prompts[key].open[item].asked) for key, item, _ in first)
        self._fly(Message(refs, tuple(said for _, _, said in first), bodies))

    def _fly(self, message: Message) -> None:
        self.seen.append(message)
        self.flying.append(message)


def _say(ref: Ref, outcome: int) -> Said:
    if ref.item.stage == "judge":
        return VERDICTS[outcome](ref.item.shown)
    return ANSWERS[outcome] or (f"{ref.item.target} answers {ref.key[1]}", None)


def _rounded(counts: Mapping[Any, float]) -> dict[Any, float]:
    """Sums of weights, which depend on their order in the last digits."""
    return {cell: round(weight, DIGITS) for cell, weight in counts.items()}
