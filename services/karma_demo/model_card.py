"""Measures the tiny family on held-out tasks and writes its model card: `python -m karma_demo.model_card`.

`CARD.md` is for people, `accuracy.json` for `karma_demo.family.accuracy`; both hold the same measurement.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import track

from karma.checkers.answer import answer
from karma.llm.transformers import LocalModel
from karma.messages import ModelSpec, Turn
from karma_demo.family import ACCURACY_FILE, CARD_FILE, EVERYONE, JUDGE_MEMBER, MEMBERS, Member, checkpoint_path
from karma_demo.tasks import SKILLS, Task, tasks

TASKS_PER_SKILL: Final = 200
MAX_NEW_TOKENS: Final = 32  # the longest right answer, a dashed word of seven letters or a sum, needs fewer than 28
_GREEDY: Final = ModelSpec(
    name="member",
    backend="transformers",
    model="",
    temperature=0.0,
    max_tokens=MAX_NEW_TOKENS,
    on_length="keep",
    concurrency=64,
)


def load(folder: Path) -> tuple[Any, Any]:
    """The tokenizer and the model (float32, evaluation mode) of a checkpoint; reads the disk only."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return tokenizer, model.eval()


def respond(tokenizer: Any, model: Any, prompts: Sequence[str]) -> list[str]:
    """One greedy response per prompt, in the order of the prompts; empty where the model returned no text."""
    chats = [[Turn("user", prompt)] for prompt in prompts]
    groups = LocalModel(model, tokenizer, model.device).generate(chats, range(len(chats)), _GREEDY)
    texts = {index: result.text or "" for group in groups for index, result in group}
    return [texts[index] for index in range(len(prompts))]


def measure(folder: Path, asked: Sequence[Task]) -> dict[str, float]:
    """Accuracy of one checkpoint's greedy answers: skill (and `mean`, over skills) → share from 0 to 1."""
    tokenizer, model = load(folder)
    responses = respond(tokenizer, model, [task.prompt for task in asked])
    right: dict[str, list[bool]] = {}
    for task, response in zip(asked, responses, strict=True):
        right.setdefault(task.skill, []).append(answer(response, task.reference) is True)
    shares = {skill: sum(marks) / len(marks) for skill, marks in right.items()}
    return {"mean": sum(shares.values()) / len(shares)} | {skill: shares[skill] for skill in SKILLS if skill in shares}


def standard_error(share: float, count: int) -> float:
    """The binomial standard error of a share of `count` independent tasks."""
    return math.sqrt(share * (1 - share) / count)


def mean_standard_error(shares: Iterable[float], count: int) -> float:
    """The standard error of the mean over skills, each with `count` tasks; the skills are fixed, so only tasks vary."""
    errors = [standard_error(share, count) for share in shares]
    return math.sqrt(sum(error**2 for error in errors)) / len(errors)


def card(measured: Mapping[str, Mapping[str, float]], per_skill: int) -> str:
    """The model card as Markdown: members of the pool from weakest to strongest, then the judge."""
    pool = sorted(MEMBERS, key=lambda member: measured[member.name]["mean"])
    lines = [
        "# The tiny family",
        "",
        "Llama checkpoints of two layers, trained from scratch by `python -m karma_demo.training` on six verifiable",
        "skills. Accuracy in percent of greedy answers to held-out tasks, whose payloads no member has seen,",
        f"{per_skill} per skill, ± one binomial standard error. Measured by `python -m karma_demo.model_card`.",
        "",
        "| member | mean | " + " | ".join(SKILLS) + " | parameters | training |",
        "| --- |" + " ---: |" * (len(SKILLS) + 2) + " --- |",
        *(_row(member, measured[member.name], per_skill) for member in (*pool, JUDGE_MEMBER)),
        "",
        f"`{JUDGE_MEMBER.name}` is the likelihood judge and no member of the pool.",
        "",
        "Made for demonstrations and tests: the creatures are invented, and outside the six skills the answers are",
        "meaningless.",
        "",
    ]
    return "\n".join(lines)


def _row(member: Member, shares: Mapping[str, float], per_skill: int) -> str:
    mean_error = mean_standard_error([shares[skill] for skill in SKILLS], per_skill)
    cells = [f"{100 * shares['mean']:.1f} ± {100 * mean_error:.1f}"]
    cells += [f"{100 * shares[skill]:.0f} ± {100 * standard_error(shares[skill], per_skill):.1f}" for skill in SKILLS]
    made = f"continues {member.parent}" if member.parent else "from scratch"
    made += f", {member.steps} steps, seed {member.seed}"
    return f"| {member.name} | {' | '.join(cells)} | {_parameters(checkpoint_path(member.name)):,} | {made} |"


def _parameters(folder: Path) -> int:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="numpy") as weights:
        return sum(math.prod(weights.get_slice(key).get_shape()) for key in weights.keys())  # noqa: SIM118


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m karma_demo.model_card", description=__doc__)
    parser.add_argument("--per-skill", type=int, default=TASKS_PER_SKILL, help="held-out tasks per skill")
    per_skill: int = parser.parse_args().per_skill
    if per_skill < 1:
        sys.exit(f"--per-skill is {per_skill}; expected one or more")
    import torch

    torch.set_num_threads(1)
    asked = tasks("held_out", per_skill * len(SKILLS))
    console = Console(stderr=True)
    measured = {
        member.name: measure(checkpoint_path(member.name), asked)
        for member in track(EVERYONE, description="members measured", console=console)
    }
    ACCURACY_FILE.write_text(json.dumps({"tasks_per_skill": per_skill, "accuracy": measured}, indent=2) + "\n")
    text = card(measured, per_skill)
    CARD_FILE.write_text(text)
    console.print(text, markup=False)


if __name__ == "__main__":
    main()
