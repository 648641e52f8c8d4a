"""The rival to fear: what somebody writes in an afternoon who needs the pairs once and nothing that lasts.

Two models answer each prompt and a judge compares the answers in both orders: the four calls that KARMA makes, with
the same prompts, the same judge's template and as many calls at once. Nothing is stored before the end of a prompt, and
nothing is resumed, retried, limited or signed. `python -m tests.benchmarks.rivals.script URL PROMPTS OUT [--at-once N]`
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any, TextIO

import aiohttp

from tests.benchmarks.rivals.pairs import first_is_better, question, write


class Script:
    """Calls with a limit of how many of each model are under way."""

    def __init__(self, session: aiohttp.ClientSession, url: str, at_once: int, out: TextIO) -> None:
        self._session, self._url, self._out = session, f"{url}/chat/completions", out
        self._slots = {name: asyncio.Semaphore(at_once) for name in ("red", "blue", "judge-fair")}

    async def call(self, model: str, text: str, seed: int) -> str:
        """The text of an answer."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 1024, "seed": seed}
        async with self._slots[model], self._session.post(self._url, json=body) as response:
            response.raise_for_status()
            answer: dict[str, Any] = await response.json()
        return str(answer["choices"][0]["message"]["content"])

    async def judge(self, prompt: str, first: str, second: str, seed: int) -> float:
        """P(first is better), as the verdict line says."""
        return first_is_better(await self.call("judge-fair", question(prompt, first, second), seed))

    async def pair(self, number: int, row: dict[str, str]) -> None:
        """Answer and judge one prompt, and write its pair."""
        prompt = row["prompt"]
        red, blue = await asyncio.gather(self.call("red", prompt, number), self.call("blue", prompt, number))
        one, other = await asyncio.gather(
            self.judge(prompt, red, blue, number), self.judge(prompt, blue, red, number + 1)
        )
        write(self._out, row, (red, blue), (one, other))


async def run(url: str, rows: list[dict[str, str]], out: TextIO, at_once: int) -> None:
    """All prompts: as many at once as keep every model's slots in use."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        script = Script(session, url, at_once, out)
        waiting = iter(enumerate(rows))

        async def work() -> None:
            for number, row in waiting:
                await script.pair(number, row)

        await asyncio.gather(*(work() for _worker in range(4 * at_once)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.rivals.script", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("prompts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--at-once", type=int, default=32, help="calls under way of each model")
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in arguments.prompts.read_text().splitlines()]
    with arguments.out.open("w") as out:
        asyncio.run(run(arguments.url, rows, out, arguments.at_once))


if __name__ == "__main__":
    main()
