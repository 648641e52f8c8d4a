"""A model's checkpoint is swapped in mid-stream; how many of its verdicts pass until its competency is followed?

`python -m tests.acceptance.checkpoint_swap --before generalist-large --after novice --json OUT`

A real `karma up` on the tiny family: `student` is to be aligned, so every pair holds one of its answers. After half of
the prompts its checkpoint's files are replaced by another member's and its worker is killed; nobody else is told. The
new checkpoint answers in the pool under its own name too, so the truth is known: between the two there is no gap. A
refit has followed if it puts that gap within two of its deviations of zero.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from karma.queue.heartbeats import workers
from karma.ranking.snapshot import OVERALL
from karma.ranking.snapshot_archive import from_bytes
from karma.store import Store
from karma_demo.family import JUDGE, checkpoint_path
from karma_demo.tasks import tasks
from karma_monitor.queries.pairs import snapshot_body
from tests.support.pipeline import Pipeline, wait_until

STUDENT = "student"
_RIVALS = ("generalist-large", "generalist-medium", "generalist-small", "reckoner", "speller", "novice")
_END_S = 300


def pool(folder: Path) -> str:
    """The student's own folder and its rivals; one process answers for all of them."""
    paths = {STUDENT: folder} | {name: checkpoint_path(name) for name in _RIVALS}
    models = "".join(
        f'[models.{name}]\nbackend = "transformers"\nmodel = {json.dumps(str(path))}\ngroup = "family"\n'
        'temperature = 0.7\nmax_tokens = 48\non_length = "keep"\nconcurrency = 64\n'
        for name, path in paths.items()
    )
    judge = (
        f'[judges.likelihood]\nkind = "likelihood"\nscale = 0.1\n[judges.likelihood.model]\nbackend = "transformers"\n'
        f"model = {json.dumps(str(checkpoint_path(JUDGE)))}\nconcurrency = 64\n"
    )
    limits = "[pipeline]\nwindow = 40\nrefit_every_s = 0.5\n"
    limits += f'[stream]\ngoal = "label"\nresponses_per_prompt = 2\ntarget = "{STUDENT}"\n'
    return limits + models + judge


def run(
    before: str, after: str, prompts: int, home: Path, seed: int = 0, progress: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """One swap in the middle of `prompts`; returns every refit since as (verdicts since, gap, deviation) and a summary.

    Raises:
        AssertionError: prompts do not end, or the killed worker does not come back.
    """
    folder = home / "student"
    shutil.copytree(checkpoint_path(before), folder)
    karma = Pipeline(home, pool(folder))
    asked = [{"id": task.id, "prompt": task.prompt, "skill": task.skill} for task in tasks("demo", prompts, seed)]
    with karma.up():
        karma.enqueue(asked[: prompts // 2])
        karma.wait_for_end(prompts // 2, _END_S)
        progress(f"{prompts // 2} of {prompts} prompts ended")
        swapped_at = _swap(karma, folder, after)
        progress(f"{before} is now {after}")
        karma.enqueue(asked[prompts // 2 :])
        karma.wait_for_end(prompts, _END_S)
    return _verdict(f"sqlite:///{home / 'karma.db'}", after, swapped_at)


def _swap(karma: Pipeline, folder: Path, after: str) -> float:
    """Other weights under the same name; returns the moment from which on only they answer."""
    from karma.queue.redis import RedisClock, connect

    redis = connect((karma.home / "run" / "redis.url").read_text().strip())
    (old,) = (info for info in workers(redis) if info.service == "generation")
    shutil.rmtree(folder)
    shutil.copytree(checkpoint_path(after), folder)
    os.kill(old.pid, signal.SIGKILL)
    wait_until(
        lambda: any(info.service == "generation" and info.pid != old.pid for info in workers(redis)),
        60,
        "the worker is back",
    )
    return float(RedisClock(redis)())


def _verdict(url: str, after: str, swapped_at: float) -> dict[str, Any]:
    engine = create_engine(url)
    with engine.connect() as connection:
        moments = [
            row.resolved_at
            for row in connection.execute(
                text("SELECT resolved_at FROM resolutions WHERE outcome IN ('decisive', 'tie') ORDER BY resolved_at")
            )
        ]
    store = Store(url)
    with store.reading() as transaction:
        course = [
            (created_at, from_bytes(body))
            for version, created_at in transaction.preferences.snapshot_times()
            if (body := snapshot_body(transaction.ledger.connection, version)) is not None
        ]
    store.close()
    refits = []
    for created_at, snapshot in course:
        if created_at < swapped_at or snapshot.index(STUDENT) is None or snapshot.index(after) is None:
            continue
        names = [STUDENT, after]
        mean = snapshot.vector("mean", names, OVERALL)
        deviation = float(snapshot.matrix("gap_deviation", names, OVERALL)[0, 1])
        since = sum(swapped_at < moment <= created_at for moment in moments)
        refits.append((since, float(mean[0] - mean[1]), deviation))
    away = [since for since, gap, deviation in refits if abs(gap) > 2 * deviation]
    first = next((since for since, gap, deviation in refits if since and abs(gap) <= 2 * deviation), None)
    return {
        "verdicts_before": sum(moment <= swapped_at for moment in moments),
        "verdicts_since": sum(moment > swapped_at for moment in moments),
        "followed_after": first,  # verdicts of the student since the swap
        "last_away_after": away[-1] if away else 0,
        "refits": refits,
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default="generalist-large", choices=_RIVALS)
    parser.add_argument("--after", default="novice", choices=_RIVALS)
    parser.add_argument("--prompts", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(
            arguments.before,
            arguments.after,
            arguments.prompts,
            Path(folder) / "home",
            arguments.seed,
            lambda line: print(line, flush=True),
        )
    print("verdicts since   gap to the new checkpoint's own entry, logits")
    for since, gap, deviation in found["refits"]:
        away = "  more than two deviations" if abs(gap) > 2 * deviation else ""
        print(f"{since:>14}   {gap:+.2f} ± {deviation:.2f}{away}")
    for key, value in found.items():
        if key != "refits":
            print(f"{key:<16} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
