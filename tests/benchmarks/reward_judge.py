"""What KARMA adds to a reward model in its own process: 1,000 pairs by the judge `reward`, and by a bare loop.

A small reward model is trained first: a member of the tiny family with a new head, by the Bradley–Terry loss on right
against wrong answers of other members. Both sides then judge the same pairs in the same batches: KARMA's path from a
message to its verdicts, against the chat template, tokenizing, padding and forward passes. They take turns in one
process, in changing order, and read the same number of tokens (else the run ends). Prints tokens a second of each, the
ratio (KARMA / bare) with Student's 95 % interval and its standard deviation over the repetitions, by CPU and by wall
time; whether both found the same probabilities; and how often the better answer was preferred.
`python -m tests.benchmarks.reward_judge [--pairs N] [--batch B] [--repetitions R] [--steps S] [--json OUT]`
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch.nn.functional import logsigmoid
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging

from karma.checkers.answer import answer
from karma.messages import GenerateBatch, GenerateItem, JudgeBatch, JudgeItem, JudgeSpec, ModelSpec, Turn, Verdict
from karma.seeds import seed_of
from karma_demo.family import checkpoint_path
from karma_demo.tasks import Split, Task, tasks
from karma_generation.handlers import generate
from karma_generation.worker import ask as ask_model
from karma_judging.handlers import judge
from karma_judging.worker import ask as ask_judge
from tests.benchmarks.local import HEADER, Done, compare, spec

BASE = "generalist-large"
ANSWERING = ("generalist-medium", "novice")
_TRAINING_TASKS = 900
_TRAINING_BATCH = 32
_RATE = 1e-3


def answered(split: Split, count: int, models: Sequence[str]) -> dict[str, list[str]]:
    """The answers of models to the tasks of a split, in the order of `tasks`."""
    items = [
        GenerateItem(n, n, 0, seed_of(split, n), (Turn("user", task.prompt),))
        for n, task in enumerate(tasks(split, count, 0))
    ]
    texts = {}
    for name in models:
        message = GenerateBatch(header=HEADER, model=name, specification="f", items=tuple(items))
        made = {one.item: one.text or "-" for part in generate(message, spec(name), ask_model) for one in part.items}
        texts[name] = [made[n] for n in range(count)]
    return texts


def trained(folder: Path, steps: int) -> float:
    """Train a reward model into a folder; returns the mean loss of its last fifth (ln 2 is chance)."""
    asked = tasks("train", _TRAINING_TASKS, 0)
    texts = answered("train", _TRAINING_TASKS, ANSWERING)
    pairs = [
        (task, *((one, other) if answer(one, task.reference) else (other, one)))
        for task, one, other in zip(asked, *texts.values(), strict=True)
        if bool(answer(one, task.reference)) != bool(answer(other, task.reference))
    ]
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path(BASE), padding_side="right")
    logging.set_verbosity_error()  # that the head is new is meant
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint_path(BASE), num_labels=1, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE)
    rng = random.Random(1)
    losses = []
    for _step in range(steps):
        drawn = rng.choices(pairs, k=_TRAINING_BATCH)
        chats = [chat(task.prompt, text) for task, right, wrong in drawn for text in (right, wrong)]
        rows = tokenizer(tokenizer.apply_chat_template(chats, tokenize=False), add_special_tokens=False)
        scores = model(**tokenizer.pad(rows, return_tensors="pt")).logits[:, 0]
        loss = -logsigmoid(scores[::2] - scores[1::2]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    last = losses[-max(1, steps // 5) :]
    return sum(last) / len(last)


def chat(prompt: str, text: str) -> list[dict[str, str]]:
    """A response as the last turn of its chat."""
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]


def bare_judging(model: Any, tokenizer: Any, messages: Sequence[JudgeBatch], size: int) -> Done:
    """A loop over forward passes, the shortest first."""
    count, found = 0, []
    for message in messages:
        chats = [chat(item.messages[0].content, text) for item in message.items for text in (item.first, item.second)]
        texts = tokenizer.apply_chat_template(chats, tokenize=False)
        rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
        scores = [0.0] * len(rows)
        order = sorted(range(len(rows)), key=lambda index: (len(rows[index]), index))
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            inputs = tokenizer.pad({"input_ids": [rows[index] for index in batch]}, return_tensors="pt")
            with torch.inference_mode():
                logits = model(**inputs, use_cache=False).logits[:, 0].tolist()
            for index, logit in zip(batch, logits, strict=True):
                scores[index] = logit
        count += sum(map(len, rows))
        found += torch.sigmoid(torch.tensor(scores[::2]) - torch.tensor(scores[1::2])).tolist()
    return count, json.dumps(found).encode()


def karma_judging(messages: Sequence[JudgeBatch], asked: JudgeSpec) -> Done:
    """The worker's path from messages to verdicts."""
    verdicts = [verdict for message in messages for part in judge(message, asked, ask_judge) for verdict in part.items]
    if failure := next(filter(None, (verdict.failure for verdict in verdicts)), None):
        raise SystemExit(f"a verdict failed: {failure}")
    return sum(verdict.tokens_in or 0 for verdict in verdicts), msgspec.json.encode(verdicts)


def pairs_of(count: int) -> tuple[list[JudgeItem], list[Task]]:
    """Pairs of different responses to prompts of their own, so that no text is scored twice, and their tasks."""
    asked = tasks("demo", 2 * count, 0)
    texts = answered("demo", len(asked), ANSWERING)
    items, kept = [], []
    for n, (task, first, second) in enumerate(zip(asked, *texts.values(), strict=True)):
        if first != second and len(items) < count:
            turns = (Turn("user", task.prompt),)
            items.append(
                JudgeItem(item=n, pair=n, prompt=n, order=0, seed=0, messages=turns, first=first, second=second)
            )
            kept.append(task)
    if len(items) < count:
        raise SystemExit(f"only {len(items)} of {len(asked)} pairs have different responses, expected {count}")
    return items, kept


def accuracy(items: Sequence[JudgeItem], asked: Sequence[Task], verdicts: Sequence[Verdict]) -> tuple[float, int]:
    """How often the right response is preferred, among pairs of a right and a wrong one, and how many these are."""
    hits = []
    for item, task, verdict in zip(items, asked, verdicts, strict=True):
        first, second = (bool(answer(text, task.reference)) for text in (item.first, item.second))
        if first != second:
            hits.append(((verdict.probability or 0.0) > 0.5) == first)
    return sum(hits) / max(1, len(hits)), len(hits)


def measure(pairs: int, batch: int, repetitions: int, steps: int) -> dict[str, Any]:
    """Train, judge on both sides, compare."""
    with tempfile.TemporaryDirectory() as folder:
        loss = trained(Path(folder), steps)
        items, asked = pairs_of(pairs)
        lots = [tuple(items[start : start + batch]) for start in range(0, len(items), batch)]
        messages = [JudgeBatch(header=HEADER, judge="r", specification="f", items=lot) for lot in lots]
        model = ModelSpec(name="r", backend="transformers", model=folder, concurrency=batch)
        by_reward = JudgeSpec(name="r", kind="reward", both_orders=False, model=model)
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="right")
        bare = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
        figures = compare(
            lambda: karma_judging(messages, by_reward),
            lambda: bare_judging(bare, tokenizer, messages, batch),
            repetitions,
        )
        verdicts = msgspec.json.decode(karma_judging(messages, by_reward)[1], type=list[Verdict])
        others = json.loads(bare_judging(bare, tokenizer, messages, batch)[1])
    apart = max(abs((mine.probability or 0.0) - other) for mine, other in zip(verdicts, others, strict=True))
    share, count = accuracy(items, asked, verdicts)
    return {**figures, "apart": apart, "accuracy": share, "decided": count, "loss": loss, "pairs": len(items)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.reward_judge", description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(arguments.pairs, arguments.batch, arguments.repetitions, arguments.steps)
    print(
        f"{found['pairs']:,} pairs, {found['tokens']:,} tokens a repetition, the same bytes each time: "
        f"{found['repeatable']}; probabilities of the two sides at most {found['apart']:.1e} apart"
    )
    for clock in ("cpu_s", "wall_s"):
        row = found[clock]
        print(
            f"  by {clock:<6} {row['karma_tokens_per_s']:>7,} against {row['bare_tokens_per_s']:>7,} tokens/s: "
            f"ratio {row['ratio']:.3f} [{row['low']:.3f}, {row['high']:.3f}], spread {row['spread']:.3f}"
        )
    print(
        f"  the right response is preferred in {found['accuracy']:.1%} of {found['decided']} pairs of a right and a "
        f"wrong one (training loss {found['loss']:.3f}, by chance 0.693)"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
