"""An endpoint that is gone for a minute: what that costs its own model, and the others.

Three models of 8 calls at once, 250 ms each; the server of one is killed and comes back on the same port.
`python -m tests.benchmarks.outage [--seconds 60] [--json OUT]`
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.rate_limits import endpoint, failures
from tests.support.pipeline import Pipeline
from tests.support.ports import free_port

AT_ONCE, LATENCY_S = 8, 0.25
PER_S = AT_ONCE / LATENCY_S
_OPTIONS = ["--latency-ms", str(1e3 * LATENCY_S)]


def pool(urls: dict[str, str]) -> str:
    """Models of two endpoints, and a judge that answers at once."""
    models = [
        f'[models.{name}]\nbackend = "openai"\nmodel = "{name}"\nbase_url = "{url}"\nconcurrency = {AT_ONCE}\n'
        for name, url in urls.items()
    ]
    judge = '[judges.j]\nkind = "instant"\nboth_orders = false\n'
    return "".join(['[stream]\ngoal = "label"\npolicy = "random"\n', *models, judge])


def measure(seconds: float) -> dict[str, Any]:
    """Answers per second before, during and after the outage, and when the model was called again."""
    with tempfile.TemporaryDirectory() as folder:
        home, port = Path(folder), free_port()
        logs = {"a": home / "a.jsonl", "b": home / "b.jsonl"}
        with endpoint(logs["b"], _OPTIONS) as steady:
            flaky = f"http://127.0.0.1:{port}/v1"
            karma = Pipeline(home, pool({"a": flaky, "b": steady, "c": steady}), plugins="tests.support.instant")
            prompts = int(3 * PER_S / 2 * (3 * seconds + 60))
            with karma.up():
                with endpoint(logs["a"], _OPTIONS, port):
                    karma.enqueue([{"id": f"q{n}", "prompt": f"What is {n}?"} for n in range(prompts)])
                    time.sleep(15)
                    began = time.time()
                    time.sleep(seconds)
                down_at = time.time()
                time.sleep(seconds)
                up_at = time.time()
                with endpoint(logs["a"], _OPTIONS, port):
                    time.sleep(seconds)
                    ended = time.time()
            failed = failures(karma)
            calls = [json.loads(line) for log in logs.values() for line in log.read_text().splitlines()]
    answered = [(call["answered_at"], call["model"]) for call in calls if call["outcome"] == "answered"]

    def per_s(first: float, last: float, *models: str) -> float:
        return sum(first <= at < last and model in models for at, model in answered) / (last - first)

    back = min(call["received_at"] for call in calls if call["model"] == "a" and call["received_at"] >= up_at)
    before, during = per_s(began, down_at, "b", "c"), per_s(down_at, up_at, "b", "c")
    return {
        "others_per_s_before": round(before, 2),
        "others_per_s_during": round(during, 2),
        "others_kept": round(during / before, 3),
        "own_per_s_before": round(per_s(began, down_at, "a"), 2),
        "own_per_s_after": round(per_s(back + 1, ended, "a"), 2),
        "called_again_after_s": round(back - up_at, 2),
        "failed_answers": failed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.outage", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the outage, and before and after it")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = measure(arguments.seconds)
    for name, value in figures.items():
        print(f"{name:<24} {value:>10,}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
