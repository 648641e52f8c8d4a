"""kombu's Redis transport with a guard: an entry that KARMA did not write ends no consumer and reaches no task.

kombu 5.7 parses an entry without catching errors, and Celery 5.7 obeys what its headers say. Here an entry is read by
`karma.queue.entries`, and what is refused is counted and kept for inspection (`karma.queue.refused`).

A channel also chooses what it reads: no queue whose slots are all in use (`karma.queue.slots`), and the two lanes of a
priority step by turns (`karma.messages.lanes`).
"""

from __future__ import annotations

from queue import Empty
from time import monotonic
from typing import Any

from kombu import serialization
from kombu.transport.redis import Channel, Transport

from karma.errors import RefusedError
from karma.queue.backlog import PRIORITY_STEPS, lanes_of, queue_of_list
from karma.queue.entries import READ, as_delivered, read_entry
from karma.queue.refused import refuse
from karma.queue.slots import SLOTS

serialization.register("karma-read", encoder=None, decoder=lambda body: body, content_type=READ)

#: Seconds that a BRPOP waits from which a queue is left out, so that the queue is read soon after it has room.
_LEFT_OUT_S = 0.05


class GuardedChannel(Channel):  # type: ignore[misc] # kombu has no types
    """A channel that delivers only entries that KARMA wrote, of queues with room."""

    # When its connection is lost, kombu would requeue the current message, which would be processed twice, or write it
    # with its prompts to a temporary file. The sweeper resends lost messages from the ledger.
    do_restore = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._last_read: set[str] = set()  # lists that were read after the other lane of their step
        super().__init__(*arguments, **options)

    def basic_consume(self, queue: str, *arguments: Any, **options: Any) -> Any:
        """Start to consume a queue."""
        SLOTS.forget_delivered(queue)
        return super().basic_consume(queue, *arguments, **options)

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Wait for an entry of the queues that have room; of none, if all are full.

        The poller calls this before each wait, so it starts again with the first wait after a queue has room.
        """
        active = self._queue_cycle.consume(len(self.active_queues))
        queues = [queue for queue in active if not SLOTS.is_full(queue)]
        if not queues:
            return
        wait_s = self.brpop_timeout if timeout is None else timeout
        if len(queues) < len(active):
            wait_s = min(wait_s or _LEFT_OUT_S, _LEFT_OUT_S)
        lists = [name for step in PRIORITY_STEPS for queue in queues for name in self._by_turns(queue, step)]
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        self.client.connection.send_command("BRPOP", *lists, wait_s or 0)

    def _by_turns(self, queue: str, step: int) -> tuple[str, str]:
        """The two lists of a priority step: first express, or the one that was not read last.

        So the express lane overtakes the normal one, which still has every second turn.
        """
        express, normal = lanes_of(queue, step)
        return (normal, express) if express in self._last_read else (express, normal)

    def _took_turn(self, queue: str, name: str) -> None:
        for step in PRIORITY_STEPS:
            if name in (lanes := lanes_of(queue, step)):
                self._last_read.difference_update(lanes)
                self._last_read.add(name)

    def _brpop_read(self, **options: Any) -> bool:
        """Deliver the entry that Redis answered to BRPOP."""
        if not self._in_poll:  # nothing was asked: the server closed the idle connection, which the poller opens anew
            self.client.connection.disconnect()
            raise Empty
        try:
            try:
                answer = self.client.parse_response(self.client.connection, "BRPOP", **options)
            except self.connection_errors:
                self.client.connection.disconnect()
                raise
            if not answer:
                raise Empty
            key, raw = answer
            name = key.decode("utf-8", "replace")
            queue = queue_of_list(name)
            self._queue_cycle.rotate(queue)
            self._took_turn(queue, name)
            try:
                entry = read_entry(raw)
                if entry.stage != queue.partition(".")[0]:
                    raise RefusedError("task", f"it is of another stage's task than the queue {queue[:100]!r}")
            except RefusedError as cause:
                with self.conn_or_acquire() as redis:
                    refuse(redis, queue, cause, raw)
                raise Empty from cause
            SLOTS.deliver(queue)
            self.connection._deliver(as_delivered(entry, queue), queue)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()


class GuardedTransport(Transport):  # type: ignore[misc] # kombu has no types
    """The transport of KARMA's Celery application."""

    Channel = GuardedChannel

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Let the event loop read, also as soon as a queue that was full has room."""
        super().register_with_event_loop(connection, loop)
        SLOTS.on_room = lambda: loop.call_soon(lambda: None)  # a new round of the loop starts a BRPOP
