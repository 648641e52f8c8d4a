"""What a prompt, a view of the page and an export cost after a thousand prompts, ten thousand, and on to a million.

For each decade, a pipeline of instant models (two, and a judge that sees one order) runs so many prompts into a store
of its own; all of them stay up. Then, in every repetition and in turn, each runs the same number of further prompts,
serves each view of the page, and exports its preferences. Figures:

- `prompts_per_s` and CPU microseconds a prompt (`us …`, as in `overhead`) of the further prompts;
- `store_bytes` a prompt, and beside it `text_bytes`: the UTF-8 length of the prompt and its two responses;
- `ms …` of each view (medians), and seconds to the page's first picture;
- rows that an export writes a second, its start included, and CPU microseconds a row.

Ratios are those of the largest store to the others.

`python -m tests.benchmarks.scale [--most N] [--window W] [--databases NAME …] [--repetitions R] [--json OUT]`
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sqlalchemy import create_engine, text

from tests.benchmarks import builds
from tests.benchmarks.builds import HERE, Running, write_prompts
from tests.benchmarks.overhead import costs
from tests.benchmarks.page import latencies, page, views_of
from tests.benchmarks.repeated import Figures, alternate, end_in_order, first_to_others, parser, print_table
from tests.support.databases import another_database, server
from tests.support.instant import pool
from tests.support.postgresql import PostgreSQL

_FIRST = 1_000  # prompts of the smallest store
_REQUESTS = 7  # of each view


@dataclass
class Ledger:
    """A pipeline that is up, and its store."""

    running: Running
    folder: Path
    url: str | None = None  # of a PostgreSQL database
    prompts: int = field(default=0)

    def run(self, count: int) -> Figures:
        """Run further prompts."""
        path = write_prompts(self.folder / "prompts.jsonl", count, first=self.prompts)
        seconds, used = self.running.measured("enqueue", str(path), "--wait", "-q")
        self.prompts += count
        return {"prompts_per_s": round(count / seconds, 1), **costs(used, count)}

    def view(self) -> Figures:
        """Open the page and every view of it."""
        views = views_of(self.prompts // 2, model="m0", skill="", streams=("default", "default"))
        redis = (self.running.home / "run" / "redis.url").read_text()
        given = {name: value for name, value in self.running.environment.items() if name.startswith("KARMA_")}
        with page(self.running.home, {**given, "KARMA_REDIS_URL": redis}) as (asker, _pid):
            started = time.monotonic()
            latencies(asker, ("/api/board",), 1)
            first_s = time.monotonic() - started
            found = latencies(asker, views, _REQUESTS)
        middle = self.prompts // 2  # the title of a view does not depend on the size of the store
        titles = {view: view.replace(str(middle), "MIDDLE") for view in views}
        return {
            "first_picture_s": round(first_s, 3),
            **{f"ms {titles[view]}": one["median"] for view, one in found.items()},
        }

    def export(self) -> Figures:
        """Export everything, and see how long the texts are that the store holds."""
        out = self.folder / "out.jsonl"
        seconds, cpu_s = self.running.run("export", "trl-dpo", str(out))
        rows, length = 0, 0
        with out.open() as lines:
            for line in lines:
                row = json.loads(line)
                rows += 1
                length += sum(
                    len(turn["content"].encode()) for part in ("prompt", "chosen", "rejected") for turn in row[part]
                )
        if rows != self.prompts:
            raise SystemExit(f"{rows} rows were exported of {self.prompts} prompts")
        return {
            "export_rows_per_s": round(rows / seconds, 1),
            "export_us_per_row": round(1e6 * cpu_s / rows, 1),
            "store_bytes": round(self.bytes() / rows, 1),
            "text_bytes": round(length / rows, 1),
        }

    def bytes(self) -> int:
        """What the store takes on the disk."""
        if self.url is None:
            path = self.running.home / "karma.db"
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return sum(one.stat().st_size for one in self.running.home.glob("karma.db*"))
        engine = create_engine(self.url.replace("postgresql://", "postgresql+psycopg://"))
        with engine.connect() as connection:
            found = int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
        engine.dispose()
        return found


def decades(most: int) -> list[int]:
    """A thousand, ten thousand and so on, up to `most`.

    Raises:
        SystemExit: `most` is below a thousand.
    """
    if most < _FIRST:
        raise SystemExit(f"--most is {most}, expected {_FIRST} or more")
    found = [_FIRST]
    while found[-1] * 10 <= most:
        found.append(found[-1] * 10)
    return found


def grown(stack: ExitStack, count: int, postgresql: PostgreSQL | None) -> Ledger:
    """A store with so many prompts, and its pipeline, which stays up."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="karma-scale-")))
    given = {"KARMA_PLUGINS": "tests.support.instant"}
    url, servers = None, ()
    if postgresql is not None:
        url = given["KARMA_DATABASE_URL"] = stack.enter_context(another_database(postgresql))
        servers = (postgresql.pid,)
    running = stack.enter_context(builds.up(HERE, folder / "home", pool(2), given, servers))
    ledger = Ledger(running, folder, url)
    figures = ledger.run(count)
    print(
        f"{count:,} prompts: {figures['prompts_per_s']:,} prompts/s, {figures['us all']:,} us of CPU each", flush=True
    )
    return ledger


def measure(ledgers: dict[str, Ledger], window: int, part: str) -> Figures:
    """A part of what is measured of a store, by database."""
    found: Figures = {}
    for database, ledger in ledgers.items():
        figures = {"run": partial(ledger.run, window), "views": ledger.view, "export": ledger.export}[part]()
        found |= {f"{database} {name}": value for name, value in figures.items()}
    return found


def main() -> None:
    made = parser("scale", __doc__)
    made.add_argument("--most", type=int, default=1_000_000, metavar="N", help="prompts of the largest store")
    made.add_argument("--window", type=int, default=1_000, metavar="W", help="further prompts that are measured")
    names = ["sqlite", "postgresql"]
    made.add_argument("--databases", nargs="+", choices=names, default=names, metavar="NAME")
    arguments = made.parse_args()
    end_in_order()
    sizes = decades(arguments.most)
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(server()) if name == "postgresql" else None for name in arguments.databases
        }
        rivals: dict[str, Callable[[str], Figures]] = {}
        for size in reversed(sizes):
            ledgers = {name: grown(stack, size, postgresql) for name, postgresql in servers.items()}
            rivals[f"{size:,}"] = partial(measure, ledgers, arguments.window)
        setting = {"sizes": sizes, "window": arguments.window, "databases": arguments.databases}
        pairs = first_to_others(list(rivals))
        print_table(alternate(rivals, ["run", "views", "export"], arguments, setting, pairs), pairs)


if __name__ == "__main__":
    main()
