"""The options of a local model: `[models.NAME.options]` where the backend is `transformers`."""

from __future__ import annotations

from karma.errors import SettingsError
from karma.messages import ModelSpec

_KNOWN = ("stop",)


def check_local(spec: ModelSpec) -> None:
    """Refuse what a model in this process would ignore.

    Raises:
        SettingsError: an option is unknown or has a wrong value, or a batch has no room for a token.
    """
    unknown = sorted(set(spec.options) - set(_KNOWN))
    if unknown:
        raise SettingsError(f"options has {unknown[0]!r}; a local model knows {', '.join(_KNOWN)}")
    if spec.batch_tokens is not None and spec.batch_tokens < 1:
        raise SettingsError(f"batch_tokens is {spec.batch_tokens}, expected a number from 1")
    stops_of(spec)


def stops_of(spec: ModelSpec) -> tuple[str, ...]:
    """The texts at which a generation ends, `options.stop`: one or a list of them.

    Raises:
        SettingsError: the option is neither.
    """
    stop = spec.options.get("stop") or []
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, (list, tuple)) or not all(isinstance(text, str) and text for text in stops):
        raise SettingsError(f'options.stop is {stop!r}, expected a text or a list of texts such as ["\\n\\n"]')
    return tuple(stops)
