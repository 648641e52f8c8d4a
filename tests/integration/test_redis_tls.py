"""TLS to Redis: KARMA's own client and Celery's connections verify alike, by the options of one URL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import pools
from kombu.exceptions import OperationalError

from karma.errors import BrokerError, BrokerOutageError
from karma.queue.celery_app import create_app
from karma.queue.redis import connect, outages
from tests.support.instant import POOL
from tests.support.pipeline import Pipeline
from tests.support.redis_server import Redis
from tests.support.tls import Authority, tls_proxy

REFUSED = "its certificate is refused: .*Name the file of its CA with .ssl_ca_certs=FILE"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    made = Redis(tmp_path_factory.mktemp("tls") / "redis")
    made.start()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "o u r's")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "others")


@pytest.fixture(scope="module")
def url(redis: Redis, ours: Authority) -> Iterator[str]:
    with tls_proxy(redis.port, ours.sign("server")) as port:
        yield f"rediss://127.0.0.1:{port}/0"


def own(url: str) -> None:
    connect(url).close()


def _failure(connection: Any) -> BaseException | None:
    """The Redis client's own error behind the one that kombu makes of it."""
    try:
        connection.default_channel.client.ping()
    except OperationalError as error:
        return error.__cause__
    return None


def celerys(url: str) -> None:
    pools.reset()  # kombu shares the connections to an address, whatever their options
    app: Any = create_app(url)
    app.conf.broker_connection_retry = False
    try:
        with app.connection_for_read() as connection:
            failed = _failure(connection)
        if failed is not None:
            with outages():
                raise failed
    finally:
        app.close()


BOTH = pytest.mark.parametrize("ask", [own, celerys])


@BOTH
def test_a_certificate_by_the_named_authority_is_accepted(url: str, ours: Authority, ask: Any) -> None:
    ask(f"{url}?ssl_ca_certs={ours.certificate}")


@BOTH
@pytest.mark.parametrize("option", ["", "?ssl_cert_reqs=required", "?ssl_ca_certs={others}"])
def test_any_other_certificate_is_refused_in_one_sentence(url: str, others: Authority, ask: Any, option: str) -> None:
    with pytest.raises((BrokerError, BrokerOutageError), match=REFUSED) as error:
        ask(url + option.format(others=others.certificate))
    assert "\n" not in str(error.value)


@BOTH
def test_a_certificate_of_another_host_is_refused(redis: Redis, ours: Authority, ask: Any) -> None:
    with (
        tls_proxy(redis.port, ours.sign("elsewhere", "127.0.0.9")) as port,
        pytest.raises((BrokerError, BrokerOutageError), match="certificate is refused: IP address mismatch"),
    ):
        ask(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={ours.certificate}")


@BOTH
@pytest.mark.parametrize("value", ["none", "CERT_NONE"])
def test_verification_is_off_only_where_it_is_switched_off_by_name(url: str, ask: Any, value: str) -> None:
    ask(f"{url}?ssl_cert_reqs={value}")


@BOTH
def test_a_certificate_of_the_client_is_sent(redis: Redis, ours: Authority, ask: Any) -> None:
    certificate, key = ours.sign("client")
    with tls_proxy(redis.port, ours.sign("server"), clients=ours.certificate) as port:
        trusted = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={ours.certificate}"
        ask(f"{trusted}&ssl_certfile={certificate}&ssl_keyfile={key}")
        with pytest.raises((BrokerError, BrokerOutageError)):
            ask(trusted)


def test_a_port_without_tls_is_one_sentence(redis: Redis) -> None:
    with pytest.raises(BrokerError, match=r"Timeout connecting to server\. Does this port speak TLS\?$"):
        own(f"rediss://127.0.0.1:{redis.port}/0")


def test_a_pipeline_runs_over_tls_and_a_worker_that_trusts_another_authority_ends_with_one_sentence(
    tmp_path: Path, url: str, ours: Authority, others: Authority
) -> None:
    karma = Pipeline(tmp_path, POOL, "tests.support.instant", redis_url=f"{url}?ssl_ca_certs={ours.certificate}")
    with karma.up():
        karma.enqueue([{"prompt": "x"}, {"prompt": "y"}])
        assert karma.wait_for_end(2)["prompts"]["done"] == 2
        karma.environment["KARMA_REDIS_URL"] = f"{url}?ssl_ca_certs={others.certificate}"
        done = karma.run("worker", "scoring", check=False)
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert "its certificate is refused" in said
