"""A budget in dollars with many workers: where it ends, whether it goes on once raised, and how good the estimate was.

Two priced models and a priced judge answer at an endpoint with latency. First a stream runs into its budget with all
worker processes; then the budget is raised, the gateway restarted, and the rest is answered. Then `--estimate` says
what further prompts would cost, and they are run.
`python -m tests.benchmarks.budget [--workers N] [--prompts N] [--estimated N] [--budget USD] [--json OUT]`
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.support.endpoint import Behaviour, serve
from tests.support.pipeline import Pipeline, wait_until
from tests.support.redis_server import Redis
from tests.support.workers import Worker, workers

#: USD per million tokens; texts are short, so a call costs about a tenth of a cent.
_PRICES = {"red": (20.0, 60.0), "blue": (5.0, 15.0), "judge": (10.0, 30.0)}


#: Seconds that processes may take to start; many at once share the cores.
_START_S = 300.0


def pool(url: str, budget: float | None) -> str:
    """The pool file, with or without a budget of the stream."""
    model = f'backend = "openai"\nbase_url = "{url}"\nconcurrency = 8\n'

    def price(name: str) -> str:
        return f"price = {{ input = {_PRICES[name][0]}, output = {_PRICES[name][1]} }}\n"

    limit = "" if budget is None else f"budget_usd = {budget}\n"
    return (
        '[stream]\ngoal = "label"\n[pipeline]\nbatch_items = 8\nclaim_silence_s = 30\n'
        f"[streams.budgeted]\n{limit}"
        f'[models.red]\nmodel = "red"\n{price("red")}{model}[models.blue]\nmodel = "blue"\n{price("blue")}{model}'
        f'[judges.j]\nkind = "openai"\n[judges.j.model]\nmodel = "judge"\n{price("judge")}{model}'
    )


def prompts(first: int, number: int) -> list[dict[str, str]]:
    """Prompts of very different lengths."""
    draw = random.Random(first)
    return [
        {"id": f"p{n}", "prompt": f"Say {n}. " + "word " * draw.choice([5, 20, 60, 200])}
        for n in range(first, first + number)
    ]


def waits(karma: Pipeline) -> bool:
    """Whether the stream waits for budget."""
    return bool(karma.status()["budgets"].get("budgeted", {}).get("waits"))


def settled(karma: Pipeline, endpoint: Any, quiet_s: float = 6.0) -> dict[str, Any]:
    """The status once nothing was asked for a while and nothing is under way."""
    last, since = endpoint.arrived, time.monotonic()
    while time.monotonic() - since < quiet_s:
        time.sleep(0.1)
        if endpoint.arrived != last or endpoint.under_way:
            last, since = endpoint.arrived, time.monotonic()
    return karma.status()


def measure(worker_count: int, number: int, estimated: int, budget: float) -> dict[str, Any]:
    """The figures of one run."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        endpoint = stack.enter_context(serve(Behaviour(latency_ms=60, spread_ms=60, seed=1)))
        redis = Redis(folder / "redis")
        karma = Pipeline(folder / "home", pool(endpoint.url, budget), redis_url=redis.start())
        stack.callback(redis.stop)
        running = stack.enter_context(workers(karma))
        gateway = start_all(running, worker_count)
        karma.enqueue(prompts(0, number), "--stream", "budgeted")
        started = time.monotonic()
        wait_until(lambda: waits(karma), 300, "the budget is spent", every_s=0.3)
        reached_s = time.monotonic() - started
        first = settled(karma, endpoint)
        spent = first["budgets"]["budgeted"]["spent_usd"]
        asked = endpoint.calls.total()
        paid = first["cost_usd"]
        restart(karma, running, gateway, pool(endpoint.url, 100 * budget))
        last = karma.wait_for_end(number, 400)
        said = json.loads(
            karma.call(
                *("enqueue", "-", "--estimate", "--json", "--stream", "budgeted"),
                text="".join(json.dumps(prompt) + "\n" for prompt in prompts(number, estimated)),
            ).stdout
        )
        before = karma.status()["cost_usd"]
        karma.enqueue(prompts(number, estimated), "--stream", "budgeted")
        end = karma.wait_for_end(number + estimated, 600)
        cost = end["cost_usd"] - before
        for worker in running.started:  # nothing is left to do; a stop would wait for idle polls
            worker.process.kill()
    return {
        "workers": worker_count,
        "budget_usd": budget,
        "spent_usd": round(spent, 6),
        "over_usd": round(spent - budget, 6),
        "calls": asked,
        "mean_call_usd": round(paid / asked, 6),
        "over_calls": round((spent - budget) / (paid / asked), 1),
        "reached_s": round(reached_s, 1),
        "prompts_done_at_budget": first["prompts"]["done"],
        "failed_at_budget": first["failed"],
        "prompts_done_after_raise": last["prompts"]["done"],
        "failed_after_raise": last["failed"],
        "dead": end["prompts"]["dead"],
        "estimate_usd": said["cost_usd"],
        "estimate_low_usd": said["low_usd"],
        "estimate_high_usd": said["high_usd"],
        "cost_usd": cost,
        "estimate_error": round(said["cost_usd"] / cost - 1.0, 4),
        "estimate_sources": sorted({part["source"] for part in said["parts"]}),
        "estimated_prompts": estimated,
    }


def start_all(running: Any, worker_count: int) -> Worker:
    """One gateway, scoring and matching, and workers that ask, half of them judges; returns the gateway."""
    gateway: Worker = running.start("gateway")
    gateway.wait_for("is ready", _START_S)
    running.start("scoring")
    running.start("matching")
    for index in range(worker_count):
        running.start("generation" if index % 2 == 0 else "judging")
    for worker in running.started:
        worker.wait_for("is ready", _START_S)
    return gateway


def restart(karma: Pipeline, running: Any, gateway: Worker, text: str) -> Worker:
    """Write another pool file and restart the gateway alone."""
    karma.pool_path.write_text(text)
    gateway.process.send_signal(signal.SIGTERM)
    gateway.process.wait(60)
    again: Worker = running.start("gateway")
    again.wait_for("is ready", _START_S)
    return again


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=re.sub(r"\n`.*", "", __doc__ or ""))
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--prompts", type=int, default=600)
    parser.add_argument("--estimated", type=int, default=1000)
    parser.add_argument("--budget", type=float, default=1.0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found = measure(asked.workers, asked.prompts, asked.estimated, asked.budget)
    text = json.dumps(found, indent=2)
    print(text)
    if asked.json:
        asked.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
