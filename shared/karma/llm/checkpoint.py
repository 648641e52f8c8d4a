"""Loading a checkpoint into this process: safetensors only, and no code that comes with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from karma.errors import MissingExtraError, SettingsError


def load(name: str, dtype: str, device: str) -> tuple[Any, Any, Any]:
    """The model, its tokenizer, and the device that it is on.

    Args:
        name: a folder, or a name on a hub.
        dtype: as torch calls it; `auto`: the checkpoint's own, and single precision on a CPU.
        device: as torch calls it; `auto`: CUDA where there is one.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        SettingsError: it cannot be loaded, or needs code of its own.
    """
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging as transformers_logging
    except ImportError as cause:
        raise MissingExtraError(str(cause.name), "local", "a model in this process") from cause
    # What the library says goes through this process's log, and bars are for people who watch.
    transformers_logging.disable_default_handler()
    transformers_logging.enable_propagation()
    transformers_logging.disable_progress_bar()
    place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    if place.type == "cpu":
        torch.set_num_threads(_threads())
    # Half precision on a CPU is slow where it works at all.
    wanted = torch.float32 if dtype == "auto" and place.type == "cpu" else dtype
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, padding_side="left")
        read: Callable[..., Any] = AutoModelForCausalLM.from_pretrained
        model = read(name, dtype=wanted, use_safetensors=True, trust_remote_code=False).to(place)
    except (OSError, ValueError) as cause:
        raise SettingsError(
            f"the model {name} cannot be loaded: {cause}. "
            "Expected a checkpoint with its tokenizer and safetensors that needs no code of its own."
        ) from cause
    model.eval()
    return model, tokenizer, place


def _threads() -> int:
    text = os.environ.get("KARMA_TORCH_THREADS", "1")
    if not text.isdigit() or int(text) < 1:
        raise SettingsError(f"environment: KARMA_TORCH_THREADS is {text!r}, expected a number from 1")
    return int(text)
