"""Bespoke Curator makes the same pairs: a data set of responses by each model, and one of verdicts in both orders.

Its calls return when all rows are done, so models and judge work one after the other, as in its examples. It runs in an
environment of its own that has `bespokelabs-curator`: `PYTHON -m tests.benchmarks.rivals.curator URL PROMPTS OUT`
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

_ANY = 10**9  # no limit per minute


def main() -> None:
    url, prompts, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    os.environ |= {"CURATOR_CACHE_DIR": str(out.parent / "curator"), "TELEMETRY_ENABLED": "0", "CURATOR_VIEWER": "0"}
    # It sets where tiktoken finds its vocabulary, which that would download otherwise.
    import litellm.litellm_core_utils.default_encoding  # noqa: F401
    from bespokelabs import curator

    from tests.benchmarks.rivals.pairs import first_is_better, question, write

    class Responses(curator.LLM):
        """A response to each prompt."""

        def prompt(self, row: dict[str, Any]) -> str:
            return str(row["prompt"])

        def parse(self, row: dict[str, Any], response: str) -> dict[str, Any]:
            return {**row, self.model_name: response}

    class Verdicts(curator.LLM):
        """A verdict on each pair."""

        def prompt(self, row: dict[str, Any]) -> str:
            return question(row["prompt"], row["first"], row["second"])

        def parse(self, row: dict[str, Any], response: str) -> dict[str, Any]:
            return {"id": row["id"], "turned": row["turned"], "verdict": first_is_better(response)}

    def settings(model: str) -> dict[str, Any]:
        limits = {"max_requests_per_minute": _ANY, "max_tokens_per_minute": _ANY, "max_concurrent_requests": 32}
        given = {"base_url": url, "api_key": "none", "require_all_responses": True, **limits}
        return {"model_name": model, "backend": "openai", "backend_params": given}

    rows: Any = [json.loads(line) for line in prompts.read_text().splitlines()]
    for model in ("red", "blue"):
        rows = Responses(**settings(model))(rows).dataset
    pairs = {row["id"]: row for row in rows}
    shown = [
        {"id": row["id"], "prompt": row["prompt"], "first": first, "second": second, "turned": turned}
        for row in pairs.values()
        for turned, first, second in ((0, row["red"], row["blue"]), (1, row["blue"], row["red"]))
    ]
    said = {(row["id"], row["turned"]): row["verdict"] for row in Verdicts(**settings("judge-fair"))(shown).dataset}
    with out.open("w") as lines:
        for name, row in pairs.items():
            write(lines, row, (row["red"], row["blue"]), (said[name, 0], said[name, 1]))


if __name__ == "__main__":
    main()
