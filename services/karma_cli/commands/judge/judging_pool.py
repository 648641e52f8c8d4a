"""The pool file of `karma judge`: the judges of another one, and a stream in which every pair gets a verdict."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from karma.config.pool import Pool

#: Settings of `[stream]` that are about judging and hold here too.
_KEPT = (
    *("judges", "orders", "most_order_doubt", "order_audit_share"),
    *("first_judge", "most_judge_doubt", "judge_audit_share", "judges_per_pair", "all_judges_share"),
    *("max_length_ratio", "checker", "tie_margin"),
)


def judging_pool(pool: Pool, pairs_per_prompt: int, one_model: bool) -> str:
    """The text of the pool file.

    Args:
        pool: has the judges; its models are left out, as nothing is generated.
        pairs_per_prompt: at most; 0: every pair.
        one_model: each prompt's responses are of one model, so that its samples are paired.
    """
    tables = tomllib.loads(pool.path.read_text(encoding="utf-8-sig"))
    policy = "self" if one_model else "all-pairs" if pairs_per_prompt == 0 else "informative"
    stream = {name: value for name, value in tables.get("stream", {}).items() if name in _KEPT}
    stream |= {"goal": "label", "policy": policy, "pairs_per_prompt": pairs_per_prompt}
    judges = {name: _judge(pool, name, table) for name, table in tables["judges"].items()}
    written: dict[str, Any] = {"stream": stream, "judges": judges}
    if "pipeline" in tables:
        written["pipeline"] = tables["pipeline"]
    return "".join(f"{name} = {_value(table)}\n" for name, table in written.items())


def _judge(pool: Pool, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """A judge's table; a folder is named from everywhere, and a template file is its text."""
    spec, own = pool.judges[name].model, dict(table)
    if text := pool.judges[name].template_text:
        own["template_text"] = text
    if spec is None or spec.base_url is not None or not Path(spec.model).is_absolute():
        return own
    return {**own, "model": {**table["model"], "model": spec.model}}


def _value(value: Any) -> str:
    """A value as TOML, on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(name)} = {_value(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return str(value)


def _text(value: str) -> str:
    """A TOML string; JSON's escapes are TOML's, but for the delete character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
