"""Loads a checkpoint into this process: from safetensors only, without running the checkpoint's code."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from karma.errors import MissingExtraError, SettingsError


def load(name: str, dtype: str, device: str) -> tuple[Any, Any, Any]:
    """The model, its tokenizer and its device.

    Args:
        name: a folder, or a name on a hub.
        dtype: torch's name; `auto`: the checkpoint's own, and single precision on a CPU.
        device: torch's name; `auto`: CUDA if available.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        SettingsError: the checkpoint cannot be loaded, or needs code of its own.
    """
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging as transformers_logging
    except ImportError as cause:
        raise MissingExtraError(str(cause.name), "local", "a model in this process") from cause
    # The library logs through this process's log, without progress bars.
    transformers_logging.disable_default_handler()
    transformers_logging.enable_propagation()
    transformers_logging.disable_progress_bar()
    target = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    if target.type == "cpu":
        torch.set_num_threads(_threads())
    # Half precision on a CPU is slow, if it is supported.
    precision = torch.float32 if dtype == "auto" and target.type == "cpu" else dtype
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, padding_side="left")
        read: Callable[..., Any] = AutoModelForCausalLM.from_pretrained
        model = read(name, dtype=precision, use_safetensors=True, trust_remote_code=False).to(target)
    except (OSError, ValueError) as cause:
        raise SettingsError(
            f"the model {name} cannot be loaded: {cause}. "
            "Expected a checkpoint with its tokenizer and safetensors that needs no code of its own."
        ) from cause
    model.eval()
    return model, tokenizer, target


def _threads() -> int:
    text = os.environ.get("KARMA_TORCH_THREADS", "1")
    if not text.isdigit() or int(text) < 1:
        raise SettingsError(f"environment: KARMA_TORCH_THREADS is {text!r}, expected a number from 1")
    return int(text)
