"""A process dies at every fault point, in turn and again and again, while prompts pour in; then the ledger is read.

`python -m tests.acceptance.fault_points --rounds 20 --database postgresql --json OUT`
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from karma.queue.fault_injection import POINTS
from karma_scoring.fit.judges.logistic import LEAST_PAIRS
from tests.support import verifier
from tests.support.databases import database
from tests.support.endpoint import Behaviour, serve
from tests.support.feed import Feed
from tests.support.pipeline import KARMA, Pipeline, wait_until

LIMITS = "[pipeline]\nwindow = 64\nclaim_silence_s = 3\npublish_grace_s = 2\nbatch_items = 8\nrefit_every_s = 0.2\n"
RATE = 8.0

#: Fault points by service.
Points = Mapping[str, Sequence[str]]

#: Points that are only passed after something was lost: dying here is what makes it so.
_AFTER = {"sweep": "generate.claimed", "redeliver": "score.claimed"}
_REACHED_S = 60.0


#: Settings of the stream under which verdicts open judgements.
STREAMS = {
    "adaptive": 'orders = "adaptive"\n',
    # Once there is a rule, the first verdict always calls for the other judge.
    "cascade": 'first_judge = "j"\nmost_judge_doubt = 0.0\norders = "one"\n',
}


def pool(url: str, judges: Sequence[str] = ("j",)) -> str:
    """Two models and judges of an endpoint."""
    model = f'backend = "openai"\nmodel = "NAME"\nbase_url = "{url}"\nconcurrency = 4\n'
    models = "".join(f"[models.{name}]\n{model.replace('NAME', name)}" for name in ("red", "blue"))
    asked = model.replace("NAME", "judge")
    tables = "".join(f'[judges.{name}]\nkind = "openai"\n[judges.{name}.model]\n{asked}' for name in judges)
    return LIMITS + models + tables


def run(
    rounds: int,
    kind: str,
    home: Path,
    wanted: Points = POINTS,
    progress: Callable[[str], None] = lambda _line: None,
    opens: str | None = None,
) -> dict[str, Any]:
    """Die at every wanted point `rounds` times; returns the counts of hits and what the verifier read in the end.

    Where verdicts open judgements (`opens`: a key of `STREAMS`), the first death waits until a rule has been learned,
    and the judge prefers the first position in a third of the pairs.
    """
    armed = home / "faults"
    armed.mkdir(parents=True)
    hits: Counter[str] = Counter()
    started = time.monotonic()
    with (
        database(kind, home) as url,
        serve(Behaviour(latency_ms=20, position_bias=0.33 if opens else 0.0)) as endpoint,
    ):
        stream = f'[stream]\ngoal = "label"\n{STREAMS.get(opens or "", "")}'
        judges = ("j", "larger") if opens == "cascade" else ("j",)
        karma = Pipeline(home, pool(endpoint.url, judges) + stream, database_url=url)
        karma.environment["KARMA_TEST_FAULTS"] = str(armed)
        with karma.up(), Feed(url, RATE) as feed:
            if opens:
                karma.wait_for_end(LEAST_PAIRS + 20, 120)
            for turn in range(rounds):
                for point in wanted["ingest"]:
                    _die_at_the_door(karma, armed, point)
                    hits[point] += 1
                for points in zip_longest(*(wanted[service] for service in wanted if service != "ingest")):
                    named = [point for point in points if point is not None]
                    _die_in_passing(karma, armed, named)
                    hits.update(named)
                    progress(f"{turn + 1}/{rounds}, {time.monotonic() - started:.0f} s: {', '.join(named)}")
            feed.stop()
            ingested = rounds * len(wanted["ingest"])
            karma.wait_for_end(feed.accepted + ingested, 240)
        found = verifier.read(url)
    return {
        "database": kind,
        "points": len(hits),
        "deaths": hits.total(),
        "never_hit": [point for points in wanted.values() for point in points if not hits[point]],
        "accepted": feed.accepted + ingested,
        "calls": endpoint.arrived,
        "seconds": round(time.monotonic() - started, 1),
        **{
            name: found[name]
            for name in (
                "ended",
                "dead",
                "failed_responses",
                "failed_verdicts",
                "second_orders",
                "larger_judges",
                "doubled",
                "broken",
            )
        },
    }


def _die_in_passing(karma: Pipeline, armed: Path, points: list[str]) -> None:
    """Workers of several services die the next time that one comes by each of the points."""
    causes = {before for point in points for stage, before in _AFTER.items() if point.startswith(f"{stage}.")}
    names = [*points, *causes]
    for name in names:
        (armed / name).touch()

    def waiting() -> list[str]:
        return [name for name in names if (armed / name).exists()]

    try:
        wait_until(lambda: not waiting(), _REACHED_S, "every point is reached")
    except AssertionError as late:
        raise AssertionError(f"{late}; left: {waiting()}\n{karma.logs()}") from None


def _die_at_the_door(karma: Pipeline, armed: Path, point: str) -> None:
    """Whoever enqueues dies; enqueueing the same again takes nothing twice and loses nothing."""
    prompt = json.dumps({"id": f"{point}-{time.monotonic_ns()}", "prompt": f"Say {point}."})
    (armed / point).touch()
    enqueue = [*KARMA, "enqueue", "-", "--json"]
    died = subprocess.run(enqueue, input=prompt, text=True, env=karma.environment, check=False, capture_output=True)
    assert died.returncode == 137, died.stderr
    again = json.loads(karma.run("enqueue", "-", "--json", text=prompt).stdout)
    committed = point == "ingest.after_commit"
    assert (again["accepted"], again["present"]) == ((0, 1) if committed else (1, 0))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(
            arguments.rounds, arguments.database, Path(folder) / "home", progress=lambda line: print(line, flush=True)
        )
    for name, value in found.items():
        print(f"{name:<18} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
