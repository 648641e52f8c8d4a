"""Whether streams stop each other: real processes, a real Redis, and an endpoint that sets the pace.

Three parts. `refused`: the rate of a healthy stream alone, and beside two streams whose endpoints refuse connections;
`silent`: beside two whose endpoints accept connections and never answer; `newcomer`: how long a small stream takes
that is enqueued five seconds after a big one of the same models, against the same stream alone with half of the
endpoint. The endpoint answers each call after `--latency-ms`, so it is what limits the rate, not this machine.
`python -m tests.benchmarks.fair_shares [--parts PART…] [--quick] [--latency-ms MS] [--json OUT]`
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from karma.store import Store
from tests.support.pipeline import Pipeline, wait_until

PARTS = ("refused", "silent", "newcomer")
_SETTLE_S = 10.0  # until the unhealthy streams hold all that they can
_HEAD_START_S = 5.0
_DEADLINE_S = 1200.0
_UNHEALTHY = ("ill-1", "ill-2")


@contextmanager
def endpoint(latency_ms: float) -> Iterator[str]:
    """The URL of an endpoint in a process of its own."""
    command = [sys.executable, "-m", "tests.support.endpoint", "--latency-ms", str(latency_ms)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


@contextmanager
def silent() -> Iterator[str]:
    """The URL of an endpoint that accepts connections and never answers."""
    accepted = []
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as server:

        def accept() -> None:
            while True:
                try:
                    accepted.append(server.accept())
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        server.shutdown(socket.SHUT_RDWR)
    for connection, _address in accepted:
        connection.close()


@contextmanager
def refusing() -> Iterator[str]:
    """The URL of a port that nothing listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}/v1"


def pool(url: str, ill_url: str, concurrency: int) -> str:
    """Two healthy models and a judge; two models at `ill_url` for each unhealthy stream."""

    def model(name: str, at: str) -> str:
        return (
            f'[models.{name}]\nbackend = "openai"\nmodel = "{name}"\nbase_url = "{at}"\nconcurrency = {concurrency}\n'
        )

    names = [f"{stream}{side}" for stream in _UNHEALTHY for side in "ab"] if ill_url else []
    judge = '[judges.fair]\nkind = "openai"\n' + model("judge-fair", url).replace(
        "[models.judge-fair]", "[judges.fair.model]"
    )
    streams = "".join(f'[streams.{stream}]\nmodels = ["{stream}a", "{stream}b"]\n' for stream in _UNHEALTHY if ill_url)
    return (
        "".join(model(name, url) for name in ("red", "blue"))
        + "".join(model(name, ill_url) for name in names)
        + judge
        + '[stream]\ngoal = "label"\nmodels = ["red", "blue"]\n'
        + streams
    )


def seconds_of(
    url: str,
    prompts: int,
    before: Sequence[tuple[str, int]] = (),
    ill_url: str = "",
    wait_s: float = 0.0,
    calls: int = 32,
) -> float:
    """Seconds from the enqueueing of a stream to its end; `before`: streams that are enqueued `wait_s` earlier."""
    with tempfile.TemporaryDirectory() as folder:
        karma = Pipeline(Path(folder) / "home", pool(url, ill_url, calls))
        with karma.up():
            store = Store(f"sqlite:///{karma.home / 'karma.db'}")
            for stream, number in before:
                karma.enqueue(
                    [{"id": f"{n}", "prompt": f"Say {stream}x{n}."} for n in range(number)], "--stream", stream
                )
            time.sleep(wait_s)
            started = time.monotonic()
            karma.enqueue([{"id": f"{n}", "prompt": f"Say this{n}."} for n in range(prompts)], "--stream", "this")

            def ended() -> bool:
                with store.reading() as transaction:
                    states = transaction.ledger.count_states(["this"])
                return states["done"] + states["dead"] >= prompts

            try:
                wait_until(ended, _DEADLINE_S, f"{prompts} prompts ended", every_s=0.1)
                return time.monotonic() - started
            except AssertionError:
                print(karma.status(), karma.logs(), file=sys.stderr)
                return float("inf")
            finally:
                store.close()


def measure(parts: Sequence[str], quick: bool, latency_ms: float) -> dict[str, float]:
    """Rates in prompts per second and times in seconds, by name."""
    figures: dict[str, float] = {}
    prompts, crowd = (300, 2_000) if quick else (1_000, 4_000)
    big, small = (7_500, 150) if quick else (15_000, 300)
    with endpoint(latency_ms) as url:
        if {"refused", "silent"} & set(parts):
            figures["alone_per_s"] = prompts / seconds_of(url, prompts, wait_s=_SETTLE_S)
        for part, ill in (("refused", refusing), ("silent", silent)):
            if part in parts:
                with ill() as ill_url:
                    took_s = seconds_of(url, prompts, [(name, crowd) for name in _UNHEALTHY], ill_url, _SETTLE_S)
                figures[f"beside_{part}_per_s"] = prompts / took_s
                figures[f"beside_{part}_share"] = figures[f"beside_{part}_per_s"] / figures["alone_per_s"]
        if "newcomer" in parts:
            figures["newcomer_alone_s"] = seconds_of(url, small, wait_s=_HEAD_START_S)
            figures["newcomer_alone_at_half_s"] = seconds_of(url, small, wait_s=_HEAD_START_S, calls=16)
            figures["newcomer_s"] = seconds_of(url, small, [("big", big)], wait_s=_HEAD_START_S)
            figures["newcomer_ratio"] = figures["newcomer_s"] / figures["newcomer_alone_at_half_s"]
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fair_shares", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--quick", action="store_true", help="fewer prompts in the same proportions")
    parser.add_argument("--latency-ms", type=float, default=1000.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = measure(arguments.parts, arguments.quick, arguments.latency_ms)
    for name, value in figures.items():
        print(f"{name:<28} {value:>10}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
