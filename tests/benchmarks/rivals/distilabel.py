"""distilabel makes the same pairs: two text generations, and a judge's task for each order.

A batch is sent at once, so batches of 32 keep 32 calls of a model under way, and two of 16 those of the judge. It runs
in an environment of its own that has `distilabel[openai]`:
`PYTHON -m tests.benchmarks.rivals.distilabel URL PROMPTS OUT`
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import GroupColumns, LoadDataFromDicts
from distilabel.steps.tasks import Task, TextGeneration

from tests.benchmarks.rivals.pairs import first_is_better, question, write

_AT_ONCE = 32


class JudgePair(Task):
    """Compares the two generations of a row, in the order of `turned`."""

    turned: bool = False

    @property
    def inputs(self) -> list[str]:
        return ["instruction", "generations"]

    @property
    def outputs(self) -> list[str]:
        return ["verdict"]

    def format_input(self, input: dict[str, Any]) -> list[dict[str, str]]:
        red, blue = input["generations"]
        first, second = (blue, red) if self.turned else (red, blue)
        return [{"role": "user", "content": question(input["instruction"], first, second)}]

    def format_output(self, output: str | None, input: dict[str, Any] | None = None) -> dict[str, Any]:
        return {"verdict": first_is_better(output or "")}


def llm(url: str, model: str) -> OpenAILLM:
    """A model of the endpoint."""
    return OpenAILLM(model=model, base_url=url, api_key="none", generation_kwargs={"max_new_tokens": 1024})


def main() -> None:
    url, prompts, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    rows = [json.loads(line) for line in prompts.read_text().splitlines()]
    with Pipeline(name="pairs", cache_dir=out.parent / "distilabel") as pipeline:
        data = [{"id": row["id"], "instruction": row["prompt"]} for row in rows]
        load = LoadDataFromDicts(name="load", data=data, batch_size=_AT_ONCE)
        models = [
            TextGeneration(name=name, llm=llm(url, name), input_batch_size=_AT_ONCE, add_raw_output=False)
            for name in ("red", "blue")
        ]
        group = GroupColumns(
            name="group", columns=["generation"], output_columns=["generations"], input_batch_size=_AT_ONCE // 2
        )
        judges = [
            JudgePair(name=name, llm=llm(url, "judge-fair"), turned=turned, input_batch_size=_AT_ONCE // 2)
            for name, turned in (("in_order", False), ("turned", True))
        ]
        verdicts = GroupColumns(name="verdicts", columns=["verdict"], output_columns=["verdicts"])
        load >> models >> group >> judges >> verdicts
    made = pipeline.run(use_cache=False)["default"]["train"]
    with out.open("w") as lines:
        for row in made:
            prompt = {"id": row["id"], "prompt": row["instruction"]}
            write(lines, prompt, tuple(row["generations"]), tuple(row["verdicts"]))


if __name__ == "__main__":
    main()
