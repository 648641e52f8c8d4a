"""Trials: one alignment of one policy on the pairs of one stream, with all that was spent on it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from karma.config.goals import with_goal
from karma.config.settings import StreamSettings
from karma.config.tables import convert
from karma.messages import JudgeSpec
from karma.seeds import seed_of
from karma_demo.family import JUDGE, checkpoint_path
from karma_demo.model_card import load
from karma_demo.tasks import Task, tasks
from tests.benchmarks.active_policies import ACTIVE
from tests.benchmarks.alignment import Preference, Recipe, accuracy, aligned
from tests.benchmarks.family_stream import FAMILY, Answers, JudgedPair, Stream, answers, run, spec_of

TARGET = "policy"  # the name of the policy in the pool
BASELINE = "random"


def of_goal_train(**stream: str) -> StreamSettings:
    """The settings of a stream of the goal `train` with the family and a policy, as if its judge had a price."""
    return convert(with_goal({"goal": "train", **stream}, len(FAMILY) + 1, ["openai"]), StreamSettings)


SETTINGS: Mapping[str, StreamSettings] = {
    BASELINE: StreamSettings(policy="random"),
    "informative": StreamSettings(policy="informative"),
    "kin": StreamSettings(policy="kin"),
    "best-vs-worst": StreamSettings(policy="best-vs-worst"),
    "best-vs-random": StreamSettings(policy="best-vs-random"),
    "all-pairs": StreamSettings(policy="all-pairs", responses_per_prompt=3, pairs_per_prompt=0),
    "self": StreamSettings(policy="self"),
    "random/target": StreamSettings(policy="random", target=TARGET),
    "informative/target": StreamSettings(policy="informative", target=TARGET),
    "kin/target": StreamSettings(policy="kin", target=TARGET),
    "best-vs-worst/target": StreamSettings(policy="best-vs-worst", target=TARGET),
    "best-vs-random/target": StreamSettings(policy="best-vs-random", target=TARGET),
    "self/target": StreamSettings(policy="self", target=TARGET),
    # Four answers a prompt, of which one pair is judged: more generations, no more judge calls.
    "random/4": StreamSettings(policy="random", responses_per_prompt=4),
    "random/4/2": StreamSettings(policy="random", responses_per_prompt=4, pairs_per_prompt=2),
    "informative/target/4": StreamSettings(policy="informative", target=TARGET, responses_per_prompt=4),
    "best-vs-worst/target/4": StreamSettings(policy="best-vs-worst", target=TARGET, responses_per_prompt=4),
    # Of others, for comparison (`active_policies`).
    **{name: StreamSettings(policy=name) for name in ACTIVE},
    "train": of_goal_train(),
    "train/target": of_goal_train(target=TARGET),
}
ONLY_IF_NAMED = (
    *("best-vs-random/target", "random/4", "random/4/2", "informative/target/4", "best-vs-worst/target/4"),
    *("train", "train/target"),
    *ACTIVE,
)
JUDGES: Mapping[str, JudgeSpec] = {
    "verifier": JudgeSpec(name="verifier", kind="verifier", both_orders=False),
    "likelihood": JudgeSpec(
        name=JUDGE,
        kind="likelihood",
        both_orders=False,
        scale=0.1,
        model=spec_of(JUDGE, checkpoint_path(JUDGE), 0.0),
    ),
}


@dataclass(frozen=True)
class Size:
    """How much each stream may spend, and what accuracy is measured on."""

    prompts: int
    calls: int
    held_out: int
    available: int  # prompts drawn; streams with many near-duplicates need more than others


@dataclass(frozen=True)
class Trial:
    """What one alignment came to."""

    policy: str
    seed: int
    setting: str
    equal: str  # `calls` or `prompts`
    before: float  # accuracy, percent
    after: float
    preferences: int
    prompts: int  # that the stream saw
    calls: int
    generations: int

    @property
    def change(self) -> float:
        """In points."""
        return self.after - self.before


def trials(
    policies: Mapping[str, Path],
    settings: Sequence[str],
    equals: Sequence[str],
    judge: JudgeSpec,
    recipe: Recipe,
    size: Size,
    seed: int,
) -> Iterator[Trial]:
    """All alignments of one seed."""
    asked = tasks("demo", size.available, seed)
    held_out = tasks("held_out", size.held_out, seed)
    samples = 2 if any(SETTINGS[setting].policy == "self" for setting in settings) else 1
    family = answers(FAMILY, asked, 0.7, samples, seed)
    for name, checkpoint in policies.items():
        given = {**family, **answers({TARGET: checkpoint}, asked, 0.7, samples, seed)}
        before = 100.0 * accuracy(*load(checkpoint), held_out)
        for setting in settings:
            datasets = _datasets(asked, given, SETTINGS[setting], judge, size)
            for equal in equals:
                used = datasets[equal]
                rows = _preferences(used.pairs, asked)
                started = time.monotonic()
                after = 100.0 * accuracy(*aligned(checkpoint, rows, recipe, seed_of(seed, name)), held_out)
                trial = Trial(
                    name,
                    seed,
                    setting,
                    equal,
                    before,
                    after,
                    len(rows),
                    used.prompts,
                    used.calls,
                    used.generations,
                )
                took = time.monotonic() - started
                print(
                    f"seed {seed} {name} {setting} at equal {equal}: {len(rows)} preferences, "
                    f"{before:.1f} % {trial.change:+.1f} ({took:.0f} s)",
                    file=sys.stderr,
                    flush=True,
                )
                yield trial


def _datasets(
    asked: Sequence[Task], given: Answers, settings: StreamSettings, judge: JudgeSpec, size: Size
) -> dict[str, Stream]:
    """The pairs at equal judge calls and at equal prompts: two beginnings of one stream."""
    stream = run(asked, given, settings, judge, size.prompts, size.calls)
    by_calls = stream.until(size.calls)
    by_prompts = [pair for pair in stream.pairs if pair.prompt < size.prompts]
    a_prompt = stream.generations / stream.prompts
    seen = by_calls[-1].prompt + 1
    return {
        "calls": Stream(by_calls, seen, round(a_prompt * seen)),
        "prompts": Stream(by_prompts, size.prompts, round(a_prompt * size.prompts)),
    }


def _preferences(pairs: Sequence[JudgedPair], asked: Sequence[Task]) -> list[Preference]:
    return [
        Preference(asked[pair.prompt].prompt, pair.chosen, pair.rejected)
        for pair in pairs
        if pair.outcome == "decisive"
    ]
