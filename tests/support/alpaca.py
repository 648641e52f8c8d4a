"""Recorded answers of many models to AlpacaEval prompts, for the benchmarks: what the product may see, and a judge.

`Data` holds what the product may see; `Judge` holds the recorded preferences and gives them out verdict by verdict, so
that a benchmark cannot read by accident what its run did not buy. Prompts and models are numbered by their place in
`Data`: prompts in the order of the files, models by name.

    parser = argparse.ArgumentParser(...)
    add_folders(parser)                       # --fit DIR --evaluate DIR, or the folder in KARMA_BENCH_DATA
    fit, evaluation = recordings(parser.parse_args(), fit_prompts=120)
    evaluation.data.outputs[3][7]             # the answer of model 7 to prompt 3
    evaluation.judge.verdicts([3], [7], [9])  # 1: model 7 is better there; −1: model 9 is; 0: a tie
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tests.support.recorded import TIE_LOGITS

Array = NDArray[np.float64]

_FIT_SEED = 120  # which prompts are for fitting, where one folder is all there is


@dataclass(frozen=True)
class Prompt:
    """A prompt; its skill is the data set that it comes from."""

    id: str
    text: str
    skill: str


@dataclass(frozen=True, eq=False)
class Data:
    """What the product may see of P prompts and M models."""

    prompts: tuple[Prompt, ...]
    models: tuple[str, ...]
    outputs: tuple[tuple[str, ...], ...]  # [P][M]

    @property
    def skills(self) -> tuple[str, ...]:
        """Names of the skills, sorted."""
        return tuple(sorted({prompt.skill for prompt in self.prompts}))

    def skill_indices(self) -> NDArray[np.int64]:
        """Place of each prompt's skill in `skills`, [P]."""
        places = {skill: place for place, skill in enumerate(self.skills)}
        return np.array([places[prompt.skill] for prompt in self.prompts], dtype=np.int64)


class Judge:
    """Gives verdicts, as recorded, and counts how many it gave (`calls`)."""

    def __init__(self, logits: Array, preferences: Array) -> None:
        self._logits = logits  # [P, M], of the preference for this answer over the common baseline
        self._preferences = preferences  # [P, M], in [0, 1]
        self.calls = 0

    def verdicts(self, prompts: ArrayLike, first: ArrayLike, second: ArrayLike) -> NDArray[np.int64]:
        """1 where the answer of model `first` is better, −1 where that of `second` is, 0 for a tie; all of shape [n].

        The sign of the difference of the preference logits, a tie where that is within 1.
        """
        prompts = np.asarray(prompts, dtype=np.int64)
        gap = self._logits[prompts, np.asarray(first)] - self._logits[prompts, np.asarray(second)]
        self.calls += gap.size
        found: NDArray[np.int64] = np.where(np.abs(gap) <= TIE_LOGITS, 0, np.sign(gap)).astype(np.int64)
        return found

    def true_preference(self) -> Array:
        """Mean preference for each model, [M]: the truth that a ranking is held against, never shown to the product."""
        means: Array = self._preferences.mean(axis=0)
        return means


@dataclass(frozen=True, eq=False)
class Recording:
    """Prompts with their answers, and the judge who knows their verdicts."""

    data: Data
    judge: Judge

    def part(self, prompts: Sequence[int], models: Sequence[int] | None = None) -> Recording:
        """Only these prompts (and models), in this order, with a judge of their own."""
        columns = list(range(len(self.data.models)) if models is None else models)
        kept = Data(
            prompts=tuple(self.data.prompts[p] for p in prompts),
            models=tuple(self.data.models[m] for m in columns),
            outputs=tuple(tuple(self.data.outputs[p][m] for m in columns) for p in prompts),
        )
        block = np.ix_(np.asarray(prompts, dtype=np.int64), np.asarray(columns, dtype=np.int64))
        return Recording(kept, Judge(self.judge._logits[block], self.judge._preferences[block]))


def add_folders(parser: argparse.ArgumentParser) -> None:
    """The options that say where the recorded answers are."""
    parser.add_argument("--fit", type=Path, metavar="DIR", help="answers to learn from (default: KARMA_BENCH_DATA)")
    parser.add_argument("--evaluate", type=Path, metavar="DIR", help="answers to evaluate on (default: those of --fit)")


def recordings(arguments: argparse.Namespace, fit_prompts: int) -> tuple[Recording, Recording]:
    """The fit prompts, drawn with a fixed seed, and the evaluation prompts: all that are no fit prompts.

    Raises:
        SystemExit: no folder is named.
    """
    given = arguments.fit or (Path(os.environ["KARMA_BENCH_DATA"]) if "KARMA_BENCH_DATA" in os.environ else None)
    fit_folder, evaluation_folder = given or arguments.evaluate, arguments.evaluate or given
    if fit_folder is None or evaluation_folder is None:
        raise SystemExit("no recorded answers: set KARMA_BENCH_DATA to their folder, or pass --fit and --evaluate")
    everything = load(fit_folder)
    drawn = np.random.default_rng(_FIT_SEED).permutation(len(everything.data.prompts))[:fit_prompts]
    fit = everything.part(sorted(drawn.tolist()))
    evaluated = everything if evaluation_folder == fit_folder else load(evaluation_folder)
    seen = {prompt.id for prompt in fit.data.prompts}
    return fit, evaluated.part([p for p, prompt in enumerate(evaluated.data.prompts) if prompt.id not in seen])


def load(folder: Path) -> Recording:
    """All `prompts*.parquet` and `responses*.parquet` of a folder.

    Raises:
        ValueError: there are none, or a prompt lacks the answer of a model.
    """
    prompts = tuple(
        Prompt(row["prompt_id"], row["prompt"], row["source_dataset"])
        for row in _rows(folder, "prompts", ["prompt_id", "prompt", "source_dataset"])
    )
    rows = _rows(folder, "responses", ["prompt_id", "model", "output", "pref", "pref_logit"])
    models = tuple(sorted({row["model"] for row in rows}))
    places = {prompt.id: place for place, prompt in enumerate(prompts)}
    columns = {model: column for column, model in enumerate(models)}
    shape = (len(prompts), len(models))
    logits, preferences, texts = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, "", dtype=object)
    for row in rows:
        where = places[row["prompt_id"]], columns[row["model"]]
        logits[where], preferences[where], texts[where] = row["pref_logit"], row["pref"], row["output"]
    if np.isnan(logits).any():
        raise ValueError(f"{folder}: {int(np.isnan(logits).sum())} of {logits.size} answers are missing or not judged")
    outputs = tuple(tuple(line) for line in texts.tolist())
    return Recording(Data(prompts, models, outputs), Judge(logits, preferences))


def _rows(folder: Path, kind: str, columns: list[str]) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    files = sorted(folder.glob(f"{kind}*.parquet"))
    if not files:
        raise ValueError(f"{folder} holds no {kind}*.parquet")
    return [row for file in files for row in pq.read_table(file, columns=columns).to_pylist()]
