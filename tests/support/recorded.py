"""A judge made of recorded verdicts on AlpacaEval answers, read from the folder that `KARMA_BENCH_DATA` names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from karma.messages import JudgeItem, JudgeSpec, Verdict

#: Preferences whose logits differ by no more than this are a tie, as the data's own description says.
TIE_LOGITS = 1.0


def folder() -> Path:
    return Path(os.environ["KARMA_BENCH_DATA"])


def key(prompt: str, output: str) -> str:
    """A name for an answer to a prompt: the judge sees texts only, never which model wrote them."""
    return hashlib.sha256(f"{prompt}\x1f{output}".encode()).hexdigest()


@cache
def logits() -> dict[str, float]:
    """Preference logit of every answer."""
    import pyarrow.parquet as pq

    prompts = {row["prompt_id"]: row["prompt"] for row in pq.read_table(folder() / "prompts_open.parquet").to_pylist()}
    columns = ["prompt_id", "output", "pref_logit"]
    rows = pq.read_table(folder() / "responses_open.parquet", columns=columns).to_pylist()
    return {key(prompts[row["prompt_id"]], row["output"]): row["pref_logit"] for row in rows}


class RecordedJudge:
    """Says what was recorded."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        verdicts = []
        for one in items:
            prompt = one.messages[-1].content
            gap = logits()[key(prompt, one.first)] - logits()[key(prompt, one.second)]
            probability = 0.5 if abs(gap) <= TIE_LOGITS else float(gap > 0)
            verdicts.append(
                Verdict(
                    item=one.item,
                    pair=one.pair,
                    prompt=one.prompt,
                    judge=spec.name,
                    order=one.order,
                    probability=probability,
                )
            )
        yield verdicts


PLUGINS = {"karma.judges": {"recorded": RecordedJudge}}
