"""Local checkpoints, as far as their files tell: nothing is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from karma.messages import JudgeSpec, ModelSpec
from karma.plugins.registry import judge_kind
from karma_cli.commands.doctor.findings import Finding, Of, finding

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_INDEX = "model.safetensors.index.json"
_SHOWN_FILES = 3
_SHOWN_LABELS = 8
_USUAL_LABELS = 2  # of a configuration that does not say it, by the library


def checkpoint_findings(spec: ModelSpec | JudgeSpec) -> list[Finding]:
    """Why the checkpoint of a local model or judge cannot be loaded, or will not answer as it should."""
    of: Of = "model" if isinstance(spec, ModelSpec) else "judge"
    model = spec if isinstance(spec, ModelSpec) else spec.model
    if model is None:
        return []
    found = list(_of_packages())
    folder = Path(model.model)
    found += _of_folder(folder) if folder.is_dir() else _of_hub(model)
    if isinstance(spec, JudgeSpec) and judge_kind(spec.kind).classifies:
        found += _of_classifier(folder, spec.options.get("label"))
    return [finding(code, of, spec.name, read) for code, read in found]


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds a whole model."""
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def _of_packages() -> Iterator[tuple[str, str]]:
    missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
    if missing:
        yield "missing-extra", f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not installed here"


def _of_folder(folder: Path) -> Iterator[tuple[str, str]]:
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            yield "adapter-only", f"{folder} has adapter_config.json and no config.json"
        else:
            yield "no-config", f"{folder} has no config.json"
        return
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
        if pickles:
            yield "pickle-weights", f"{folder} has no *.safetensors, only {', '.join(pickles[:_SHOWN_FILES])}"
        else:
            yield "no-weights", f"{folder} has config.json and no weights"
    elif missing := _missing_shards(folder):
        shown = ", ".join(missing[:_SHOWN_FILES])
        yield "incomplete-weights", f"{folder} lacks {len(missing)} files that {_INDEX} names: {shown}"
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        yield "no-tokenizer", f"{folder} has none of {', '.join(_TOKENIZERS)}"
    elif not _has_chat_template(folder):
        yield "no-chat-template", f"{folder} has no chat_template.jinja, and tokenizer_config.json holds none"


def _of_classifier(folder: Path, label: Any) -> Iterator[tuple[str, str]]:
    """What the configuration of a reward model says; a folder without one has its own finding."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kinds = [str(kind) for kind in config.get("architectures") or ()]
        names = [str(name) for name in (config.get("id2label") or {}).values()]
        count = int(config.get("num_labels", len(names) or _USUAL_LABELS))
    except (OSError, ValueError, AttributeError, TypeError):
        return
    if not any("SequenceClassification" in kind for kind in kinds):
        yield "not-a-reward-model", f"{folder} holds a {' and '.join(kinds) or 'model of no known kind'}"
    elif label is None and count != 1:
        yield "several-labels", f"{folder} has {count} labels: {', '.join(names[:_SHOWN_LABELS])}"
    elif label is not None and label not in names:
        yield "several-labels", f"options.label is {label!r}, the labels are {', '.join(names[:_SHOWN_LABELS])}"


def _missing_shards(folder: Path) -> list[str]:
    try:
        named = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values()
        return sorted({name for name in named if not (folder / str(name)).is_file()})
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return []


def _has_chat_template(folder: Path) -> bool:
    if any(
        (folder / name).exists() for name in ("chat_template.jinja", "chat_template.json", "additional_chat_templates")
    ):
        return True
    try:
        return bool(json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError, AttributeError):
        return False


def _of_hub(model: ModelSpec) -> Iterator[tuple[str, str]]:
    if find_spec("huggingface_hub") is None:
        return
    from huggingface_hub import constants, try_to_load_from_cache

    cached = try_to_load_from_cache(model.model, "config.json", revision=model.revision)
    if constants.HF_HUB_OFFLINE and not isinstance(cached, str):
        why = "is no folder, not in the hub's cache, and HF_HUB_OFFLINE forbids a download"
        yield "not-downloaded", f"{model.model} {why}"
