"""The text of a message and the reasoning that its endpoint separated: in fields, or in parts of the content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from karma.llm.lenient_json import deep_text

#: Of most servers; vLLM; OpenRouter; Ollama and proxies of it; Copilot; litellm.
_REASONING_FIELDS = (
    *("reasoning_content", "reasoning", "reasoning_details", "thinking", "thinking_content", "reasoning_text"),
    *("thinking_blocks", "thoughts"),
)
_ANY_REASONING_FIELD = frozenset(_REASONING_FIELDS)
#: Beginnings of the types of such parts.
_REASONING_TYPES = ("thinking", "thought", "reasoning", "redacted_thinking", "redacted_reasoning")
#: Keys of parts without a type; a part with a text beside them is one of the answer.
_REASONING_KEYS = ("thinking", "thought", "reasoning", "reasoning_content", "reasoningContent")


def text_and_reasoning(message: Mapping[str, Any], between: str = "\n\n") -> tuple[str, str | None]:
    """The text of a message, and its reasoning, whose pieces are joined with `between`."""
    content = message.get("content")
    if isinstance(content, str) and _ANY_REASONING_FIELD.isdisjoint(message):  # as most messages are
        return content, None
    reasoning = [next(filter(None, (deep_text(message.get(name)) for name in _REASONING_FIELDS)), "")]
    if not isinstance(content, list):
        return deep_text(content), reasoning[0] or None
    texts: list[str] = []
    for part in content:
        (reasoning if _is_thought(part) else texts).append(deep_text(part))
    return "".join(texts), between.join(dict.fromkeys(filter(None, reasoning))) or None


def refusal_in(message: Mapping[str, Any]) -> str:
    """The model's refusal in a message, in a field or in parts of the content."""
    content = message.get("content")
    parts = [part.get("refusal") for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return deep_text([message.get("refusal"), *parts])


def _is_thought(part: Any) -> bool:
    """Whether a part of the content is reasoning; Gemini's are texts that are marked."""
    if not isinstance(part, dict):
        return False
    type_ = part.get("type")
    if part.get("thought") is True or (isinstance(type_, str) and type_.startswith(_REASONING_TYPES)):
        return True
    return not ("text" in part or "content" in part) and any(key in part for key in _REASONING_KEYS)
