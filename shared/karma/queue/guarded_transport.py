"""kombu's Redis transport with a guard: an entry that KARMA did not write ends no consumer and reaches no task.

kombu 5.7 parses an entry without catching errors, and Celery 5.7 obeys what its headers say. Here an entry is read by
`karma.queue.entries`, and what is refused is counted and kept for inspection (`karma.queue.refused`).
"""

from __future__ import annotations

from queue import Empty
from typing import Any

from kombu import serialization
from kombu.transport.redis import Channel, Transport

from karma.errors import RefusedError
from karma.queue.entries import READ, as_delivered, read_entry
from karma.queue.refused import refuse

serialization.register("karma-read", encoder=None, decoder=lambda body: body, content_type=READ)


class GuardedChannel(Channel):  # type: ignore[misc] # kombu has no types
    """A channel that delivers only entries that KARMA wrote."""

    # When its connection is lost, kombu would requeue the current message, which would be processed twice, or write it
    # with its prompts to a temporary file. The sweeper resends lost messages from the ledger.
    do_restore = False

    def _brpop_read(self, **options: Any) -> bool:
        """Deliver the entry that Redis answered to BRPOP."""
        try:
            try:
                answer = self.client.parse_response(self.client.connection, "BRPOP", **options)
            except self.connection_errors:
                self.client.connection.disconnect()
                raise
            if not answer:
                raise Empty
            key, raw = answer
            queue = key.decode("utf-8", "replace").rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            try:
                entry = read_entry(raw)
                if entry.stage != queue.partition(".")[0]:
                    raise RefusedError("task", f"it is of another stage's task than the queue {queue[:100]!r}")
            except RefusedError as cause:
                with self.conn_or_acquire() as redis:
                    refuse(redis, queue, cause, raw)
                raise Empty from cause
            self.connection._deliver(as_delivered(entry), queue)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()


class GuardedTransport(Transport):  # type: ignore[misc] # kombu has no types
    """The transport of KARMA's Celery application."""

    Channel = GuardedChannel
