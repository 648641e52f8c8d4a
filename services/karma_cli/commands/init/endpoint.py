"""What an endpoint offers to a new pool file: its models, the likely chat models first, and a judge among them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from karma_cli.commands.doctor.exchange import endpoint_url, exchange, models_in

_ANSWER_S = 3.0

#: Models that do not chat, by their names.
_NO_CHAT = re.compile(
    r"embed|rerank|whisper|tts|transcri|speech|audio|realtime|moderation|dall-e|image|sora|vision-ocr|davinci|babbage"
    r"|bge-|codex|deep-research|search-preview|guard|-instruct-\d{4}$",
    re.IGNORECASE,
)
#: Billions of parameters in a name, such as `qwen3:8b`, `Llama-3.1-70B` or `mixtral-8x7b`.
_SIZE = re.compile(r"(?<![a-z\d.])(?:(\d+)x)?(\d+(?:\.\d+)?)b(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Offer:
    """The models of one endpoint, or why they are unknown."""

    base_url: str
    models: tuple[str, ...] = ()
    fault: str | None = None  # None: the endpoint listed its models
    needs_key: bool = False  # it refused to list them without a key, or with this one


def offered(base_url: str, key_variable: str | None) -> Offer:
    """Ask an endpoint for its models, with the key in a variable if it is set; below /v1 too, if that is left out."""
    offer = _offered(base_url, key_variable)
    if offer.fault is None or base_url.rstrip("/").endswith("/v1") or "?" in base_url:
        return offer
    longer = _offered(f"{base_url.rstrip('/')}/v1", key_variable)
    return longer if longer.fault is None or longer.needs_key else offer


def _offered(base_url: str, key_variable: str | None) -> Offer:
    key = os.environ.get(key_variable, "").strip() or None if key_variable else None
    answer = exchange("GET", endpoint_url(base_url, "/models"), key, timeout_s=_ANSWER_S)
    if answer.status is None:
        return Offer(base_url, fault=answer.said)
    if answer.status in (401, 403):
        said = f"it refuses the key in {key_variable}" if key else "it wants a key"
        return Offer(base_url, fault=f"{said} ({answer.status})", needs_key=True)
    names = models_in(answer.body) if answer.status == 200 else None
    if names is None:
        return Offer(
            base_url, fault=f"GET {endpoint_url(base_url, '/models')} gave {answer.status} and no list of models"
        )
    return Offer(base_url, tuple(names))


def chat_models(names: Sequence[str]) -> list[str]:
    """The names that do not look like those of embedders, speech or image models; all of them if none is left."""
    return [name for name in names if not _NO_CHAT.search(name)] or list(names)


def size_of(name: str) -> float:
    """Billions of parameters by a model's name; 0 where it does not say."""
    found = _SIZE.search(name)
    return 0.0 if found is None else float(found[2]) * int(found[1] or 1)


def largest(names: Sequence[str]) -> str:
    """The model whose name says the most parameters; the last one where none says any."""
    return max(reversed(names), key=size_of)
