"""The page under pressure: what others wait, and its memory, while one client does what FAULTS calls an attack.

`python -m tests.benchmarks.page_pressure` runs a pipeline and its page over some thousand preferences. Somebody reads
four views again and again from 127.0.0.1; an attacker at 127.0.0.2 sends, one kind after the other, bodies of 1 GiB,
chunks without end, heads and bodies drop by drop, 300 idle connections, and ten times the allowed rate of requests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from statistics import quantiles
from typing import Any
from urllib.parse import urlsplit

from karma_monitor.page.connections import RATE_PER_S
from tests.benchmarks.processes import rss_mb
from tests.support.instant import POOL
from tests.support.page import Page
from tests.support.pipeline import Pipeline, wait_until

VIEWS = ("/api/board", "/api/pairs?limit=20", "/api/models", "/api/quality")
ATTACKER = "127.0.0.2"
CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
Attack = Callable[["Target"], Coroutine[Any, Any, None]]


class Target:
    """The page as the attacker sees it."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self.answers: Counter[str] = Counter()
        self.post = (
            f"POST /api/pause HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {token}\r\n"
        ).encode()
        self.get = f"GET /api/board HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._host, self._port, local_addr=(ATTACKER, 0))

    async def send(self, head: bytes, parts: bytes, every_s: float) -> None:
        """One connection: a head, and then its parts again and again until the page ends it."""
        reader, writer = await self.open()
        with suppress(OSError):
            writer.write(head)
            while not reader.at_eof():
                writer.write(parts)
                await writer.drain()
                await asyncio.sleep(every_s)
                if not every_s and self._came(reader):
                    break
        with suppress(OSError, TimeoutError):
            said = await asyncio.wait_for(reader.read(100), 5)
            self.answers[said[9:12].decode() or "closed"] += 1
        writer.close()

    @staticmethod
    def _came(reader: asyncio.StreamReader) -> bool:
        return bool(reader._buffer)  # type: ignore[attr-defined]


async def long_bodies(target: Target) -> None:
    await target.send(target.post + b"Content-Length: 1073741824\r\n\r\n", b"x" * 0x10000, 0)


async def endless_chunks(target: Target) -> None:
    await target.send(target.post + b"Transfer-Encoding: chunked\r\n\r\n", CHUNK, 0)


async def slow_heads(target: Target) -> None:
    await target.send(target.post, b"X: y\r\n", 0.5)


async def slow_bodies(target: Target) -> None:
    await target.send(target.post + b"Content-Length: 16000\r\n\r\n", b" ", 0.5)


async def idle(target: Target) -> None:
    reader, writer = await target.open()
    with suppress(OSError):
        await reader.read(1)
    target.answers["closed"] += 1
    writer.close()


async def requests(target: Target) -> None:
    """A tenth of ten times the rate that a client is allowed."""
    reader, writer = await target.open()
    with suppress(OSError, asyncio.IncompleteReadError, ValueError):
        while True:
            due = time.monotonic() + 1 / RATE_PER_S
            writer.write(target.get)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.split(b":")[1]))
            target.answers[head[9:12].decode()] += 1
            await asyncio.sleep(max(0.0, due - time.monotonic()))


#: Attack → what does it, and on how many connections at once.
ATTACKS: dict[str, tuple[Attack, int]] = {
    "bodies of 1 GiB": (long_bodies, 4),
    "chunks without end": (endless_chunks, 4),
    "heads drop by drop": (slow_heads, 100),
    "bodies drop by drop": (slow_bodies, 100),
    "idle connections": (idle, 300),
    "ten times the rate": (requests, 10),
}


def attack(url: str, token: str, kind: str, seconds: float, out: Any) -> None:
    """Attack for a time, in a process of its own."""

    async def again(target: Target, one: Attack) -> None:
        while True:
            with suppress(OSError):
                await one(target)
            await asyncio.sleep(0.05)

    async def all_of_it() -> Counter[str]:
        target, (one, number) = Target(url, token), ATTACKS[kind]
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(again(target, one) for _n in range(number)))
        return target.answers

    out.put(dict(asyncio.run(all_of_it())))


def read_views(page: Page, seconds: float) -> dict[str, Any]:
    """Milliseconds of a reader's requests, ten a second, and what was not answered."""
    times, failed, until = [], 0, time.monotonic() + seconds
    while time.monotonic() < until:
        started = time.monotonic()
        try:
            failed += page.ask(VIEWS[len(times) % len(VIEWS)])[0] != 200
        except OSError:
            failed += 1
        times.append(1000 * (time.monotonic() - started))
        time.sleep(max(0.0, 0.1 - (time.monotonic() - started)))
    cuts = quantiles(times, n=100)
    return {"requests": len(times), "failed": failed, "p50_ms": round(cuts[49], 1), "p95_ms": round(cuts[94], 1)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        karma = Pipeline(Path(folder) / "home", POOL, "tests.support.instant")
        karma.environment["KARMA_PAGE_PORT"] = "0"
        with karma.up(page=True):
            karma.enqueue([{"prompt": f"p{n}"} for n in range(arguments.prompts)])
            karma.wait_for_end(arguments.prompts, 300)
            wait_until((karma.home / "run" / "page.url").exists, 30, "the page is up")
            page = Page.of(karma.home)
            pid = next(one["pid"] for one in page.get("/api/board")["workers"] if one["service"] == "page")
            read_views(page, 3)
            before = rss_mb(pid)
            print(json.dumps({"attack": None, **read_views(page, arguments.seconds), "rss_mb": before}), flush=True)
            for kind in ATTACKS:
                found: Any = multiprocessing.Queue()
                given = (page.url, page.token, kind, arguments.seconds + 2, found)
                attacker = multiprocessing.Process(target=attack, args=given)
                attacker.start()
                measured = read_views(page, arguments.seconds)
                answers = found.get(timeout=60)
                attacker.join(30)
                grown = round(rss_mb(pid) - before, 1)
                print(json.dumps({"attack": kind, **measured, "grown_mb": grown, "answers": answers}), flush=True)


if __name__ == "__main__":
    main()
