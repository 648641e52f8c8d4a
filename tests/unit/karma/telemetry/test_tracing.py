"""Traces are kept only where the environment asks for them; else they cost nothing and need nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from karma.errors import SettingsError
from karma.telemetry.tracing import is_asked_for

ROOT = Path(__file__).parents[4]
URL = "http://127.0.0.1:4318"


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environment |= {"PYTHONPATH": str(ROOT / "shared"), **variables}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False, timeout=60
    )


@pytest.mark.parametrize(
    ("variables", "asked"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": URL}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": URL}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
    ],
)
def test_opentelemetrys_own_variables_say_whether_traces_are_kept(variables: dict[str, str], asked: bool) -> None:
    assert is_asked_for(variables) is asked


@pytest.mark.parametrize(
    ("variable", "value"), [("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]
)
def test_another_way_than_otlp_over_http_is_refused_by_name(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable} is '{value}'"):
        is_asked_for({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, variable: value})


def test_without_an_endpoint_a_worker_imports_nothing_and_its_messages_carry_nothing() -> None:
    done = run(
        "import sys\n"
        "from karma.queue import outbox\nfrom karma.telemetry import tracing\nfrom karma.worker import process\n"
        "from karma.messages import Header, MatchBatch, MatchItem, ModelSpec\n"
        "batch = MatchBatch(header=Header(stream='s', batch='b', token='t'), items=(MatchItem(1, 1),))\n"
        "tracing.start('matching', 'matching-1')\n"
        "with tracing.sending('dispatch', 1) as trace: assert trace == {}\n"
        "with tracing.processing('match', 'match', batch, 0.1): assert tracing.carried() == {}\n"
        "tracing.calls(ModelSpec(name='m', backend='b', model='m'), batch)\n"
        "tracing.stop()\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    assert done.returncode == 0, done.stderr


def test_an_endpoint_without_the_extra_is_an_error_that_says_how_to_install_it() -> None:
    done = run(
        "import sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "from karma.telemetry import tracing\n"
        "from karma.errors import MissingExtraError\n"
        "try: tracing.start('matching', 'matching-1')\n"
        "except MissingExtraError as error: print(error)\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=URL,
    )
    assert "needs the package opentelemetry" in done.stdout
    assert "pip install 'karma[traces]'" in done.stdout


def test_two_workers_that_a_plug_in_seeded_alike_give_different_ids() -> None:
    code = (
        "import random\n"
        "from karma.telemetry import tracing\n"
        "random.seed(1)\n"
        "tracing.start('matching', 'matching-1')\n"
        "with tracing.sending('dispatch', 1) as trace: print(trace['traceparent'])\n"
        "import os; os._exit(0)\n"
    )
    first, second = (run(code, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9").stdout.split("-") for _run in range(2))
    assert (len(first[1]), len(first[2])) == (32, 16)
    assert first[1] != second[1]
    assert first[2] != second[2]


def test_an_unavailable_collector_delays_the_end_of_a_worker_by_seconds_only() -> None:
    """The port takes connections and answers none."""
    done = run(
        "import socket, time\n"
        "from karma.telemetry import tracing\n"
        "assert tracing._FLUSH_S < 5.0; tracing._FLUSH_S = 0.5\n"
        "deaf = socket.socket(); deaf.bind(('127.0.0.1', 0)); deaf.listen()\n"
        "import os\n"
        "os.environ['OTEL_EXPORTER_OTLP_ENDPOINT'] = f'http://127.0.0.1:{deaf.getsockname()[1]}'\n"
        "tracing.start('matching', 'matching-1')\n"
        "with tracing.sending('dispatch', 1): pass\n"
        "began = time.monotonic(); tracing.stop()\n"
        "assert time.monotonic() - began < 3 * tracing._FLUSH_S\n"
    )
    assert done.returncode == 0, done.stderr
