"""Trains the tiny family from scratch: `python -m karma_demo.training`, a few minutes on two cores.

Every member is a Llama of two layers, trained on exercises with worked solutions; only the response counts in the loss.
Seeds are fixed. A member with a parent continues the parent's checkpoint, so parents come first. Progress is on
standard error, as bars on a terminal.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import Progress

from karma.telemetry.progress_bars import progress_bars
from karma_demo.family import CHECKPOINTS, EVERYONE, USUAL_LEARNING_RATE, Member
from karma_demo.tasks import Exercise, exercise

BATCH: Final = 32
_BUCKET_BATCHES: Final = 16
_BETAS: Final = (0.9, 0.98)
_MATRIX_LEARNING_RATE: Final = 0.01  # of Muon, for a member with the usual learning rate
_WEIGHT_DECAY: Final = 0.01
_WARM_UP: Final = 50  # steps
_INITIAL_DEVIATION: Final = 0.1  # the usual 0.02 is for far wider models and delays learning to copy
_ROPE_THETA: Final = 100.0  # prompts have about 50 tokens, not thousands
_IGNORED: Final = -100  # label that the loss leaves out
_PROCESSES: Final = 2
_LOOK_EVERY_S: Final = 0.5

#: Steps made by all processes; set in each of them by `_share`.
_steps_made: Synchronized[int] | None = None


def train(member: Member, folder: Path) -> float:
    """Train a member, save it in `folder/NAME`, and return the duration in seconds."""
    import torch
    from torch.nn.utils import clip_grad_norm_
    from transformers.utils import logging

    logging.disable_progress_bar()  # of saving a checkpoint: it would disturb those of the training
    started = time.monotonic()
    torch.set_num_threads(1)
    torch.manual_seed(member.seed)
    tokenizer, model = _begin(member, folder)
    model.train()
    optimizers = _optimizers(member, model)

    def share_of_rate(step: int) -> float:
        return min((step + 1) / _WARM_UP, (member.steps - step) / member.steps)

    schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, share_of_rate) for optimizer in optimizers]
    for inputs, labels, mask in _batches(member, tokenizer):
        loss = model(input_ids=inputs, attention_mask=mask, labels=labels).loss
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
        if _steps_made is not None:
            with _steps_made.get_lock():
                _steps_made.value += 1
    out = folder / member.name
    model.eval()
    model.to(torch.float16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    return time.monotonic() - started


def _optimizers(member: Member, model: Any) -> list[Any]:
    """Muon for the matrices between the layers, AdamW for the embedding and the norms.

    AdamW alone needs several times as many steps to learn to copy letters, which most skills need.
    """
    import torch

    matrices = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and "embed" not in name]
    others = [weight for name, weight in model.named_parameters() if weight.ndim != 2 or "embed" in name]
    rate = member.learning_rate
    return [
        torch.optim.Muon(
            matrices, lr=_MATRIX_LEARNING_RATE * rate / USUAL_LEARNING_RATE, momentum=0.95, weight_decay=_WEIGHT_DECAY
        ),
        torch.optim.AdamW(others, lr=rate, betas=_BETAS, weight_decay=_WEIGHT_DECAY),
    ]


def _begin(member: Member, folder: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    from karma_demo.tokenizer import MAX_TOKENS, build_tokenizer

    tokenizer = build_tokenizer()
    if member.parent is not None:
        return tokenizer, AutoModelForCausalLM.from_pretrained(folder / member.parent, dtype=torch.float32)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=member.width,
        intermediate_size=2 * member.width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=True,
        initializer_range=_INITIAL_DEVIATION,
        rope_parameters={"rope_type": "default", "rope_theta": _ROPE_THETA},
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return tokenizer, LlamaForCausalLM(config)


def _batches(member: Member, tokenizer: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Batches of similar length: inputs, labels and mask, each [BATCH, tokens]."""
    import torch

    pad = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
    rng = random.Random(member.seed)  # noqa: S311 - repeatable on purpose, and no secret
    skills, weights = list(member.mixture), list(member.mixture.values())
    made = 0
    while made < member.steps:
        drawn = [exercise(rng.choices(skills, weights)[0], "train", rng) for _ in range(BATCH * _BUCKET_BATCHES)]
        encoded = sorted((_encode(each, tokenizer) for each in drawn), key=lambda pair: len(pair[0]))
        chunks = [encoded[start : start + BATCH] for start in range(0, len(encoded), BATCH)]
        rng.shuffle(chunks)
        for chunk in chunks[: member.steps - made]:
            inputs = pad([torch.tensor(tokens) for tokens, _targets in chunk], padding_value=tokenizer.pad_token_id)
            labels = pad([torch.tensor(targets) for _tokens, targets in chunk], padding_value=_IGNORED)
            yield inputs, labels, inputs != tokenizer.pad_token_id
            made += 1


def _encode(drawn: Exercise, tokenizer: Any) -> tuple[list[int], list[int]]:
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": drawn.prompt}], add_generation_prompt=True, return_dict=False
    )
    answered = tokenizer(drawn.response, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    return asked + answered, [_IGNORED] * len(asked) + answered


def _share(steps_made: Synchronized[int]) -> None:
    """Share the step counter with this process."""
    global _steps_made  # noqa: PLW0603 - an initializer of the pool can only set a global
    _steps_made = steps_made


def train_all(members: list[Member], folder: Path, progress: Progress) -> None:
    """Train members in parallel, each once its parent is trained."""
    trained = progress.add_task("members trained", total=len(members))
    stepped = progress.add_task("steps", total=sum(member.steps for member in members))
    context = get_context("spawn")
    steps_made = context.Value("q", 0)
    names = {member.name for member in members}
    waiting = sorted(members, key=lambda member: -member.steps * member.width)
    done: set[str] = set()
    running: dict[Future[float], Member] = {}
    with ProcessPoolExecutor(_PROCESSES, mp_context=context, initializer=_share, initargs=(steps_made,)) as pool:
        while waiting or running:
            for member in [each for each in waiting if each.parent not in names or each.parent in done]:
                if len(running) < _PROCESSES:
                    waiting.remove(member)
                    running[pool.submit(train, member, folder)] = member
            ended = wait(running, timeout=_LOOK_EVERY_S, return_when=FIRST_COMPLETED).done
            progress.update(stepped, completed=steps_made.value)
            for future in ended:
                member = running.pop(future)
                done.add(member.name)
                progress.console.print(f"{member.name}: {future.result():.0f} s")
                progress.advance(trained)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m karma_demo.training", description=__doc__)
    parser.add_argument("--out", type=Path, default=CHECKPOINTS, help="folder for the checkpoints")
    parser.add_argument("--only", help="names of members, comma-separated; a parent must exist already")
    arguments = parser.parse_args()
    names = [member.name for member in EVERYONE]
    wanted = arguments.only.split(",") if arguments.only else names
    unknown = set(wanted).difference(names)
    if unknown:
        sys.exit(f"no member is called {', '.join(sorted(unknown))}")
    with progress_bars(Console(stderr=True), hidden=not sys.stderr.isatty()) as progress:
        train_all([member for member in EVERYONE if member.name in wanted], arguments.out, progress)


if __name__ == "__main__":
    main()
