"""What KARMA adds to a model in its own process: its batches against bare loops over the same batches.

Generation: the worker's path from a message to its answers, against tokenizing, `generate` and decoding. Judging by
likelihood: the worker's path from a message to its verdicts, against tokenizing and forward passes. Both sides take the
same messages, checkpoint, batches, lengths and seeds, and do the same number of tokens (else the run ends). They take
turns in one process, in changing order. Prints tokens a CPU-second of each and the ratio (KARMA / bare) with Student's
95 % interval over the repetitions, by CPU time and by wall time; and whether every repetition gave the same bytes.
`python -m tests.benchmarks.local [--items N] [--batch B] [--repetitions R] [--json OUT]`
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import msgspec
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from karma.messages import GenerateBatch, GenerateItem, Header, JudgeBatch, JudgeItem, JudgeSpec, ModelSpec, Turn
from karma.seeds import seed_of
from karma_demo.family import JUDGE, checkpoint_path
from karma_demo.tasks import tasks
from karma_generation.handlers import generate
from karma_generation.worker import ask as ask_model
from karma_judging.handlers import judge
from karma_judging.worker import ask as ask_judge
from tests.benchmarks.machine import load
from tests.benchmarks.paired import difference

MODEL, OTHER = "generalist-large", "novice"
HEADER = Header(stream="s", batch="b", token="t")

#: What a side did: tokens (padding not counted), and its results as bytes.
Done = tuple[int, bytes]


def spec(name: str, **more: Any) -> ModelSpec:
    """A model of the demo, as its pool file has it."""
    settings = {"temperature": 0.7, "max_tokens": 48, "on_length": "keep", "concurrency": 64} | more
    return ModelSpec(name=name, backend="transformers", model=str(checkpoint_path(name)), **settings)


class Bare:
    """A checkpoint with nothing around it."""

    def __init__(self, name: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint_path(name), padding_side="left")
        self.model = AutoModelForCausalLM.from_pretrained(checkpoint_path(name), dtype=torch.float32).eval()

    def rendered(self, items: Sequence[GenerateItem] | Sequence[JudgeItem]) -> list[str]:
        """The prompts as text."""
        chats = [[{"role": turn.role, "content": turn.content} for turn in item.messages] for item in items]
        return list(self.tokenizer.apply_chat_template(chats, add_generation_prompt=True, tokenize=False))

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of texts."""
        return list(self.tokenizer(list(texts), add_special_tokens=False)["input_ids"])

    def padded(self, rows: Sequence[Sequence[int]]) -> Any:
        """Rows of tokens with their mask."""
        return self.tokenizer.pad({"input_ids": list(rows)}, return_tensors="pt")


def bare_generation(bare: Bare, messages: Sequence[GenerateBatch], asked: ModelSpec) -> Done:
    """A loop over `generate`, the shortest first."""
    count, texts = 0, []
    end = bare.tokenizer.eos_token_id
    for message in messages:
        rows = bare.tokens(bare.rendered(message.items))
        order = sorted(range(len(rows)), key=lambda index: (len(rows[index]), index))
        for start in range(0, len(order), asked.concurrency):
            batch = order[start : start + asked.concurrency]
            inputs = bare.padded([rows[index] for index in batch])
            torch.manual_seed(message.items[batch[0]].seed & 0x7FFFFFFF)
            with torch.inference_mode():
                made = bare.model.generate(
                    **inputs,
                    max_new_tokens=asked.max_tokens,
                    do_sample=True,
                    temperature=asked.temperature,
                    top_k=0,
                    top_p=1.0,
                    pad_token_id=bare.tokenizer.pad_token_id,
                )
            new = made[:, inputs["input_ids"].shape[1] :]
            texts += bare.tokenizer.batch_decode(new, skip_special_tokens=True)
            ended = (new == end).int()
            count += int(torch.where(ended.any(1), ended.argmax(1) + 1, new.shape[1]).sum())
    return count, "\0".join(texts).encode()


def karma_generation(messages: Sequence[GenerateBatch], asked: ModelSpec) -> Done:
    """The worker's path from messages to answers."""
    answers = [part for message in messages for part in generate(message, asked, ask_model)]
    made = [answer for part in answers for answer in part.items]
    # How long it took differs, and nothing else may.
    stored = [msgspec.structs.replace(answer, latency_s=None) for answer in made]
    return sum(answer.tokens_out or 0 for answer in made), msgspec.json.encode(stored)


def bare_judging(bare: Bare, messages: Sequence[JudgeBatch], size: int) -> Done:
    """A loop over forward passes, the shortest first, with the logits of the responses only."""
    count, sums = 0, []
    for message in messages:
        prompts = [text for text in bare.rendered(message.items) for _response in range(2)]
        texts = [text for item in message.items for text in (item.first, item.second)]
        starts = [len(row) for row in bare.tokens(prompts)]
        rows = bare.tokens([a + b + bare.tokenizer.eos_token for a, b in zip(prompts, texts, strict=True)])
        nats = [0.0] * len(rows)
        order = sorted(range(len(rows)), key=lambda index: (len(rows[index]), index))
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            inputs = bare.padded([rows[index] for index in batch])
            longest = max(len(rows[index]) - starts[index] for index in batch)
            width = inputs["input_ids"].shape[1]
            with torch.inference_mode():
                positions = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
                logits = bare.model(
                    **inputs, position_ids=positions, logits_to_keep=longest + 1, use_cache=False
                ).logits[:, :-1]
                wanted = inputs["input_ids"][:, width - longest :].unsqueeze(-1)
                chosen = torch.log_softmax(logits, -1).gather(-1, wanted).squeeze(-1)
                lengths = torch.tensor([len(rows[index]) - starts[index] for index in batch])
                is_answer = torch.arange(longest) >= (longest - lengths).unsqueeze(1)
                found = (chosen * is_answer).sum(-1).tolist()
            for index, value in zip(batch, found, strict=True):
                nats[index] = value
                count += len(rows[index]) - starts[index]
        sums += nats
    return count, repr(sums).encode()


def karma_judging(messages: Sequence[JudgeBatch], asked: JudgeSpec) -> Done:
    """The worker's path from messages to verdicts; the tokens are those of the responses, as the verdicts have them."""
    verdicts = [verdict for message in messages for part in judge(message, asked, ask_judge) for verdict in part.items]
    stored = [msgspec.structs.replace(verdict, latency_s=None) for verdict in verdicts]
    if any(verdict.failure for verdict in verdicts):
        raise SystemExit(f"a verdict failed: {next(filter(None, (verdict.failure for verdict in verdicts)))}")
    return sum(verdict.tokens_in or 0 for verdict in verdicts), msgspec.json.encode(stored)


@dataclass
class Side:
    """One side's repetitions."""

    tokens: list[int] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    results: set[bytes] = field(default_factory=set)

    def run(self, work: Callable[[], Done]) -> None:
        """Measure one repetition."""
        cpu, wall = time.process_time(), time.perf_counter()
        tokens, result = work()
        self.cpu_s.append(time.process_time() - cpu)
        self.wall_s.append(time.perf_counter() - wall)
        self.tokens.append(tokens)
        self.results.add(result)

    def speeds(self, times: Sequence[float]) -> list[float]:
        """Tokens a second, of each repetition."""
        return [tokens / seconds for tokens, seconds in zip(self.tokens, times, strict=True)]


def compare(karma: Callable[[], Done], bare: Callable[[], Done], repetitions: int) -> dict[str, Any]:
    """Alternate the two sides, after one repetition of each that does not count."""
    karma(), bare()
    one, other = Side(), Side()
    for repetition in range(repetitions):
        sides = [(one, karma), (other, bare)]
        for side, work in sides if repetition % 2 == 0 else reversed(sides):
            side.run(work)
    if set(one.tokens) != set(other.tokens) or len(set(one.tokens)) != 1:
        raise SystemExit(f"the sides did not do the same: {one.tokens} against {other.tokens} tokens")
    figures: dict[str, Any] = {"tokens": one.tokens[0], "repeatable": len(one.results) == 1}
    for clock in ("cpu_s", "wall_s"):
        mine, bares = one.speeds(getattr(one, clock)), other.speeds(getattr(other, clock))
        ratios = [a / b for a, b in zip(mine, bares, strict=True)]
        found = difference(ratios, [0.0] * len(ratios))
        figures[clock] = {
            "karma_tokens_per_s": round(fmean(mine)),
            "bare_tokens_per_s": round(fmean(bares)),
            "ratio": round(found.mean, 3),
            "low": round(found.low, 3),
            "high": round(found.high, 3),
            "spread": round(stdev(ratios), 3),
        }
    return figures


def measure(items: int, batch: int, repetitions: int) -> dict[str, Any]:
    """Generation and judging, with messages of `batch` items."""
    asked, judged = spec(MODEL, concurrency=batch), spec(JUDGE, concurrency=batch, temperature=0.0)
    chats = [(Turn("user", task.prompt),) for task in tasks("demo", items, 0)]
    generations = [
        GenerateItem(n, n, 0, seed_of("local", n), chat)  # as a plan of the pipeline would have them
        for n, chat in enumerate(chats)
    ]
    parts = [tuple(generations[start : start + batch]) for start in range(0, items, batch)]
    messages = [GenerateBatch(header=HEADER, model=MODEL, specification="f", items=part) for part in parts]
    loaded, judging = Bare(MODEL), Bare(JUDGE)
    figures = {
        "generation": compare(
            lambda: karma_generation(messages, asked), lambda: bare_generation(loaded, messages, asked), repetitions
        )
    }
    texts = {}
    for name in (MODEL, OTHER):
        made = [part for message in messages for part in generate(message, spec(name), ask_model)]
        texts[name] = {answer.item: answer.text or "-" for part in made for answer in part.items}
    pairs = [
        JudgeItem(
            item=n, pair=n, prompt=n, order=0, seed=0, messages=chat, first=texts[MODEL][n], second=texts[OTHER][n]
        )
        for n, chat in enumerate(chats)
    ]
    lots = [tuple(pairs[start : start + batch]) for start in range(0, items, batch)]
    asks = [JudgeBatch(header=HEADER, judge="j", specification="f", items=lot) for lot in lots]
    by_likelihood = JudgeSpec(name="j", kind="likelihood", scale=0.1, model=judged)
    figures["judging"] = compare(
        lambda: karma_judging(asks, by_likelihood), lambda: bare_judging(judging, asks, batch), repetitions
    )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.local", description=__doc__)
    parser.add_argument("--items", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=8)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with load() as seen:
        figures = measure(arguments.items, arguments.batch, arguments.repetitions)
    for what, found in figures.items():
        print(f"{what}: {found['tokens']:,} tokens a repetition, the same bytes each time: {found['repeatable']}")
        for clock in ("cpu_s", "wall_s"):
            row = found[clock]
            print(
                f"  by {clock:<6} {row['karma_tokens_per_s']:>7,} against {row['bare_tokens_per_s']:>7,} tokens/s: "
                f"ratio {row['ratio']:.3f} [{row['low']:.3f}, {row['high']:.3f}], spread {row['spread']:.3f}"
            )
    print(seen)
    if arguments.json:
        arguments.json.write_text(json.dumps({**figures, "load": asdict(seen)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
