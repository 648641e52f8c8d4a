"""Loads a checkpoint into this process: from safetensors only, without running the checkpoint's code."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from karma.errors import MissingExtraError, SettingsError

_SHOWN_WEIGHTS = 3


def load(name: str, revision: str | None, dtype: str, device: str, is_classifier: bool = False) -> tuple[Any, Any, Any]:
    """The model, its tokenizer and its device.

    Args:
        name: a folder, or a name on a hub.
        revision: of a name on a hub: a commit, a tag or a branch; None: the newest.
        dtype: torch's name; `auto`: single precision on a CPU; on a GPU the checkpoint's own, and bfloat16 for one in
            single precision where the GPU computes in it.
        device: torch's name; `auto`: CUDA if available.
        is_classifier: whether it classifies a text, as a reward model does; else it is a causal language model.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        SettingsError: the checkpoint cannot be loaded, needs code of its own, or lacks weights of a classifier.
    """
    try:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
        from transformers.utils import logging as transformers_logging
    except ImportError as cause:
        raise MissingExtraError(str(cause.name), "local", "a model in this process") from cause
    # The library logs through this process's log, without progress bars.
    transformers_logging.disable_default_handler()
    transformers_logging.enable_propagation()
    transformers_logging.disable_progress_bar()
    quiet_hub()
    target = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    if target.type == "cpu":
        torch.set_num_threads(_threads())
    try:
        pinned: dict[str, Any] = {"revision": revision} if revision else {}
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, padding_side="left", **pinned)
        config = AutoConfig.from_pretrained(name, trust_remote_code=False, **pinned)
        kind = AutoModelForSequenceClassification if is_classifier else AutoModelForCausalLM
        read: Callable[..., Any] = kind.from_pretrained
        pinned |= {"dtype": precision_of(dtype, target, config), "use_safetensors": True, "trust_remote_code": False}
        model, loading = read(name, config=config, output_loading_info=True, **pinned)
        model = model.to(target)
    except (OSError, ValueError) as cause:
        raise SettingsError(
            f"the model {name} cannot be loaded: {reason_of(name, cause)}. "
            "Expected a checkpoint with its tokenizer and safetensors that needs no code of its own."
        ) from cause
    if is_classifier:
        _check_whole(name, loading["missing_keys"])
    model.eval()
    return model, tokenizer, target


def _check_whole(name: str, missing: Iterable[str]) -> None:
    """Refuse a classifier without all of its weights: the library draws them, so its scores would be random."""
    if lacking := sorted(missing):
        raise SettingsError(
            f"the model {name} lacks {', '.join(lacking[:_SHOWN_WEIGHTS])}, so its scores would be random. Expected a "
            "reward model: a checkpoint that was trained for sequence classification, with its head."
        )


def precision_of(dtype: str, device: Any, config: Any) -> Any:
    """The number type to load a checkpoint in, as `from_pretrained` takes it.

    Args:
        dtype: torch's name, which decides; or `auto`.
        device: where the model will run.
        config: of the checkpoint.
    """
    import torch

    if dtype != "auto":
        return dtype
    if device.type == "cpu":  # half precision on a CPU is slow, if it is supported
        return torch.float32
    if device.type != "cuda" or getattr(config, "quantization_config", None) is not None:
        return "auto"
    own = getattr(config.get_text_config(), "dtype", None)
    # 16 bits stay what they are: float16 has a finer grid, and is as fast.
    is_single = own in (None, torch.float32)
    return torch.bfloat16 if is_single and torch.cuda.is_bf16_supported(including_emulation=False) else "auto"


def quiet_hub() -> None:
    """Leave out the hub's lines about each attempt: the error after the last one says why in one sentence."""
    hub = logging.getLogger("huggingface_hub")
    hub.setLevel(logging.ERROR)
    for handler in list(hub.handlers):  # its own, which writes past this process's log
        hub.removeHandler(handler)


def reason_of(name: str, error: Exception) -> str:
    """Why a checkpoint cannot be loaded, as one sentence without its full stop."""
    reason = str(error).strip().partition("\n")[0].rstrip(". ") or type(error).__name__
    if Path(name).is_dir():
        return reason
    return f"there is no such folder, and without a network only what was downloaded before can be loaded ({reason})"


def _threads() -> int:
    text = os.environ.get("KARMA_TORCH_THREADS", "1")
    if not text.isdigit() or int(text) < 1:
        raise SettingsError(f"environment: KARMA_TORCH_THREADS is {text!r}, expected a number from 1")
    return int(text)
