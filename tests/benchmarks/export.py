"""What an export costs: a store of many preferences, written as JSON Lines.

Prints rows a second and microseconds of CPU a row, the best of the repetitions, by format.
`python -m tests.benchmarks.export [--preferences N] [--formats A,B] [--repetitions R] [--database …] [--json OUT]`
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from sqlalchemy import text

from karma.store import Store
from karma.store.export_filter import ExportFilter
from karma_gateway.exports import rows, write
from tests.support.databases import database

_NUMBERS = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < :count) "
_FILL = (
    "INSERT INTO streams (name, created_at) VALUES ('default', 0)",
    f"{_NUMBERS} INSERT INTO prompts (id, stream, prompt_id, content_hash, messages, skill, priority, state, awaited, "
    """accepted_at, ended_at) SELECT n, 'default', 'p' || n, 'h' || n, '[{"role":"user","content":"Question ' || n """
    "|| '. ' || substr(:text, 1 + n % 4000, 200) || '\"}]', 'skill-' || (n % 8), 0, 'done', 0, n, n FROM c",
    f"{_NUMBERS} INSERT INTO responses (id, prompt, model, sample, text, tokens_in, tokens_out, cost_usd, priced_by, "
    "finish_reason, latency_s, created_at) SELECT 2 * n - s.k, n, 'model-' || ((n + s.k) % 12), 0, 'Answer ' || n || "
    "substr(:text, 1 + n % 3000, 150 + n % 900), 90, 120, 0.0001, 'pool', 'stop', 0.4, n "
    "FROM c, (SELECT 0 AS k UNION ALL SELECT 1) s",
    f"{_NUMBERS} INSERT INTO pairs (id, prompt, response_a, response_b, policy, reasons, kinship, gap, gap_deviation, "
    "information, likeness, judged_probability, snapshot, awaited, created_at) SELECT n, n, 2 * n - 1, 2 * n, "
    """'informative', '{"policy": "informative", "win_probability": 0.6, "probability": 0.4}', 0.5, 0.2, 0.4, 0.8, """
    "0.3, 1, 60, 0, n FROM c",
    f"{_NUMBERS} INSERT INTO verdicts (id, pair, judge, template_hash, shown, probability, rationale, tokens_in, "
    "tokens_out, cost_usd, priced_by, latency_s, created_at) SELECT 2 * n - s.k, n, 'j', 't', s.k, "
    "CASE WHEN s.k = 0 THEN 0.9 ELSE 0.1 END, substr(:text, 1 + n % 2000, 120), 600, 20, 0.0002, 'pool', 0.8, n "
    "FROM c, (SELECT 0 AS k UNION ALL SELECT 1) s",
    f"{_NUMBERS} INSERT INTO resolutions (pair, prompt, outcome, chosen, rejected, probability, flipped, label_source, "
    "resolved_at) SELECT n, n, 'decisive', 2 * n - 1, 2 * n, 0.9, 0, 'judge', n FROM c",
)


def fill(store: Store, count: int) -> None:
    """Add preferences to an empty store."""
    words = " ".join(f"word{place * 7919 % 1009}" for place in range(1200))
    with store.transaction() as transaction:
        for statement in _FILL:
            transaction.ledger.connection.execute(text(statement), {"count": count, "text": words})


def measure(store: Store, name: str, repetitions: int) -> dict[str, Any]:
    """One format."""
    best: dict[str, Any] = {"rows_per_s": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(repetitions):
            out = Path(folder) / f"{number}.jsonl"
            started, before = time.perf_counter(), time.process_time()
            written = write(rows(store, name, ExportFilter.usual()), out)
            rate = written / (time.perf_counter() - started)
            if rate > best["rows_per_s"]:
                used = 1e6 * (time.process_time() - before) / written
                best = {"rows": written, "rows_per_s": round(rate), "cpu_us_per_row": round(used, 1)}
            out.unlink()
    return best


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.export", description=__doc__)
    parser.add_argument("--preferences", type=int, default=100_000)
    parser.add_argument("--formats", default="trl-dpo,jsonl,kto")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, database(arguments.database, Path(folder) / "home") as url:
        store = Store(url)
        fill(store, arguments.preferences)
        figures = {name: measure(store, name, arguments.repetitions) for name in arguments.formats.split(",")}
        store.close()
    for name, figure in figures.items():
        print(f"{name:<12}", *(f"{what} {value:,}" for what, value in figure.items()), sep="  ")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
