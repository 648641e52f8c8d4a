"""The page's process: wires the page to the store and to Redis, and serves it until SIGTERM."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import uvicorn
from sqlalchemy import event
from starlette.types import ASGIApp

from karma.config.environment import Environment
from karma.config.pool import Pool
from karma.errors import BrokerError, KarmaError, SettingsError
from karma.queue.heartbeats import new_info
from karma.store import Store
from karma.store.requeue import Withdraw
from karma.telemetry import metrics_server
from karma.telemetry.logging import configure_logging
from karma.worker.connections import STOP_S, Connections
from karma.worker.process import HeartbeatThread
from karma.worker.retry import Shutdown
from karma.worker.schema import end_on_migration, wait_for_schema
from karma_monitor.live_status import LiveStatus
from karma_monitor.page.access import announced, is_loopback, listen, names_of, port_of, url_of
from karma_monitor.page.app import create_app
from karma_monitor.page.connections import Limits
from karma_monitor.page.control import Control
from karma_monitor.page.event_stream import Live
from karma_monitor.page.security import Access
from karma_monitor.page.tokens import Tokens
from karma_monitor.page.views import Views

log = logging.getLogger(__name__)

_CACHE_KIB = 8192
_CLOSE_S = 1  # for answers in progress at shutdown


def main(environment: Environment, withdrawal: Callable[[Pool], Withdraw]) -> None:
    """Serve the page until SIGTERM.

    Args:
        environment: of the process.
        withdrawal: by the pool, what takes pairs that are judged again out of the competency counts.

    Raises:
        SettingsError: the port is taken, or the host is not one of this machine's.
    """
    configure_logging(environment.log_level, environment.log_format)
    pool = Pool.read(environment.pool_path)
    listener = listen(environment.page_host, environment.page_port)
    if environment.page_port not in (0, port_of(listener)):
        log.warning("port %d is taken: the page is on port %d", environment.page_port, port_of(listener))
    connections = _connections(environment, pool)
    redis, clock, shutdown = (
        (connections.redis, connections.clock, connections.shutdown)
        if connections is not None
        else (None, time.time, Shutdown(STOP_S))
    )
    store = Store(environment.database, clock=clock, service="page")
    _save_memory(store)
    wait_for_schema(store, environment.supervisor_pid)
    end_on_migration(store, shutdown)
    live_status = LiveStatus(store, redis, pool)
    live = Live(live_status.read)
    views = Views(store, redis, live_status, pool.tie_margin, pool.judges.values())
    control = Control(store, redis, live_status.expire, withdrawal(pool))
    limits = Limits()
    tokens, names = Tokens(environment.home), names_of(environment.page_host)
    access = Access(tokens.scope_of, names, f"karma-{port_of(listener)}", limits.wait_s)
    server = Server(config_of(create_app(views, control, live, access), limits), live)
    port = metrics_server.serve(environment.metrics_port, environment.metrics_host)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _signal, _frame: shutdown.request())
    info = new_info("page", port, ())
    heartbeat = HeartbeatThread(connections, info, environment.supervisor_pid) if connections is not None else None
    url = url_of(environment.page_host, listener)
    if not is_loopback(environment.page_host):
        log.warning(
            "the page listens on %s without TLS: its tokens can be read on the way (docs/security.md)",
            environment.page_host,
        )
    with announced(environment.home, url):
        if heartbeat is not None:
            heartbeat.start()
        threading.Thread(target=_warm_up, args=(live_status,), name="warm-up", daemon=True).start()
        log.info("the page is at %s, metrics on port %d", url, port)
        try:
            server.run([listener])
        finally:
            if heartbeat is not None:
                heartbeat.stop()
            store.close()
    if shutdown.exit_code:
        sys.exit(shutdown.exit_code)


def config_of(app: ASGIApp, limits: Limits) -> uvicorn.Config:
    """How uvicorn serves the page."""
    return uvicorn.Config(
        app,
        http=limits.protocol(),  # type: ignore[arg-type]  # it is called as a class would be
        access_log=False,  # searches are private
        log_config=None,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=_CLOSE_S,
    )


class Server(uvicorn.Server):
    """uvicorn that ends the open event streams at shutdown: by themselves they never end."""

    def __init__(self, config: uvicorn.Config, live: Live) -> None:
        super().__init__(config)
        self._live = live

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT."""
        self._live.close()
        super().handle_exit(sig, frame)


def _warm_up(live_status: LiveStatus) -> None:
    """Count a large store before the first request; a later request reports its errors."""
    with suppress(KarmaError):
        live_status.read()


def _save_memory(store: Store) -> None:
    """The page has a connection for each request in progress: each has a small cache."""
    if store.engine.dialect.name == "sqlite":

        @event.listens_for(store.engine, "connect")
        def configure(connection: Any, _record: Any) -> None:
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")


def _connections(environment: Environment, pool: Pool) -> Connections | None:
    """The connections to Redis; None where no Redis is named or the last one is gone: the store is still shown.

    Raises:
        BrokerError: the Redis that the environment names does not answer.
    """
    try:
        return Connections.open(environment, pool.pipeline.claim_silence_s)
    except (SettingsError, BrokerError) as cause:
        if environment.redis_url:
            raise
        log.warning("queues and workers are not shown: %s", cause)
        return None
