"""How many tokens fit on a local model's device at once, and what happens where a batch does not fit."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")

#: Of the free memory, what a batch may take: the rest is for what grows in steps, fragments, and other processes.
_SHARE = 0.5

#: How allocators say it where they raise no error of their own type: CPU, CUDA's libraries, MPS.
_SAID = re.compile(r"out of memory|not enough memory|can't allocate memory|ALLOC_FAILED", re.IGNORECASE)

_MEMORY_GROUPS = (  # limit, use and statistics of a container, in the second and the first version
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


def cache_bytes(config: Any, item_bytes: int) -> int:
    """Bytes of keys and values that a model keeps per token, from its text configuration."""
    heads = getattr(config, "num_attention_heads", None) or 1
    hidden = getattr(config, "hidden_size", None) or 1
    width = getattr(config, "head_dim", None) or hidden // heads
    kept = getattr(config, "num_key_value_heads", None) or heads
    return 2 * (getattr(config, "num_hidden_layers", None) or 1) * kept * width * item_bytes


def working_bytes(config: Any, item_bytes: int) -> int:
    """Bytes per token of what a forward pass has in memory at once: about one layer's activations."""
    hidden = getattr(config, "hidden_size", None) or 1
    return (8 * hidden + 3 * (getattr(config, "intermediate_size", None) or 4 * hidden)) * item_bytes


def most_tokens(device: Any, bytes_per_token: float) -> int | None:
    """The padded tokens of one batch that fit: a power of two, so that it seldom changes; None if nobody knows."""
    free = free_bytes(device)
    if free is None:
        return None
    tokens = int(_SHARE * free / max(1.0, bytes_per_token))
    return 1 << (max(1, tokens).bit_length() - 1)


def free_bytes(device: Any) -> int | None:
    """Free memory of a device, what torch itself holds in reserve included; None if the device does not say."""
    import torch

    if device.type == "cuda":
        reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + int(reserve)
    return host_free_bytes() if device.type == "cpu" else None


def host_free_bytes(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Free memory of this machine, or of this container where that is less; None where the system does not say."""
    found = []
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        return None
    for limit, used, statistics in _MEMORY_GROUPS:
        try:
            most = (groups / limit).read_text().strip()
            lines = (groups / statistics).read_text().splitlines()
            files = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
            if most != "max":
                found.append(max(0, int(most) - int((groups / used).read_text()) + files))
        except (OSError, ValueError, IndexError):  # not in such a group
            continue
    return min(found, default=None)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of a device or of the host, is short."""
    named = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    return (
        named or isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_SAID.search(str(error))))
    )


def within_memory(
    batch: Sequence[int], run: Callable[[Sequence[int]], Result]
) -> Iterator[tuple[Sequence[int], Result | str]]:
    """Run a batch, and where memory is short, its halves.

    Args:
        batch: indices of sequences, the shortest first.
        run: what is done with some of them at once.

    Yields:
        Indices with their result, in order; or one index with the reason, as a text, if it does not fit alone.
    """
    waiting = [batch]
    while waiting:
        some = waiting.pop()
        result: Result | str
        try:
            result, fits = run(some), True
        except Exception as cause:
            if not is_out_of_memory(cause):
                raise
            said = next(iter(str(cause).strip().splitlines()), "") or type(cause).__name__
            result, fits = f"out of memory, even alone: {said}"[:300], False
        # Beyond the block of the error, whose traceback holds the tensors.
        if not fits:
            release()
        if fits or len(some) == 1:
            yield some, result
        else:
            half = len(some) // 2
            waiting += [some[half:], some[:half]]


def release() -> None:
    """Give back what torch holds in reserve."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
