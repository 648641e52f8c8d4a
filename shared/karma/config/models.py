"""The tables of models and judges in the pool file: `[models.NAME]`, and `[judges.NAME]` with its model."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from karma.config.judge_templates import check_name
from karma.config.local_models import check_local
from karma.config.settings import Price
from karma.config.tables import check_known, convert, errors_in
from karma.config.template_files import add_template, check_template
from karma.errors import SettingsError
from karma.messages import JudgeSpec, ModelSpec
from karma.plugins.registry import BACKENDS, JUDGES, backend_kind, judge_kind

#: Settings whose field in the body of a request may have another name: `[models.NAME.fields]`.
RENAMED = ("temperature", "top_p", "max_tokens", "seed")

#: Settings that belong to the worker's machine: they change nothing about what is asked.
_MACHINE = (
    *("api_key_env", "concurrency", "adaptive_concurrency", "requests_per_minute", "tokens_per_minute"),
    *("timeout_s", "max_retries", "rate_limit_wait_s", "outage_wait_s"),
    *("batch_requests", "batch_wait_s", "batch_poll_s", "batch_discount"),
    *("device", "dtype", "batch_tokens"),
)

#: A name on a hub, with or without its organization.
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: How keys begin that could also be names: those of well-known providers, or long ones of small letters and digits.
_KEY = re.compile(r"(sk|gsk|hf|key|nvapi|pplx|xai|fw|tgp|r8)_|AIza|(?=\w*[a-z])(?=\w*\d)\w{20,}")


@dataclass(frozen=True)
class ModelTable:
    """A model: what a worker needs, and the other keys of its table."""

    spec: ModelSpec
    fingerprint: str
    price: Price | None
    parent: str | None
    group: str
    benchmarks: Mapping[str, float]
    aliases: tuple[str, ...]  # earlier names of the same model


@dataclass(frozen=True)
class JudgeTable:
    """A judge, and the price of its model."""

    spec: JudgeSpec
    fingerprint: str
    price: Price | None


def fingerprint_of(spec: ModelSpec | JudgeSpec) -> str:
    """The fingerprint of what is asked of a model or judge: 64 bits, hexadecimal.

    It is of a specification as the pool file has it, with a relative folder, without defaults: a later version with
    more settings has the same. What belongs to the worker's machine alone is left out: the name of the key's variable,
    devices, limits and waits.
    """
    return blake2b(msgspec.json.encode(_asked(spec), order="deterministic"), digest_size=8).hexdigest()


def _asked(spec: ModelSpec | JudgeSpec) -> dict[str, Any]:
    asked: dict[str, Any] = {}
    for field in msgspec.structs.fields(type(spec)):
        value = getattr(spec, field.name)
        if isinstance(value, ModelSpec):
            asked[field.name] = _asked(value)
        elif value not in (field.default, {}) and field.name not in _MACHINE:
            asked[field.name] = value
    return asked


def model_table(name: str, table: Mapping[str, Any], folder: Path) -> ModelTable:
    """Read `[models.NAME]`; a checkpoint's path is relative to `folder`.

    Raises:
        SettingsError: names the table, the key, its value, and what was expected.
    """
    with errors_in(f"[models.{name}]"):
        _check_name(name)
        own = dict(table)
        parent, group, benchmarks = own.pop("parent", None), own.pop("group", None), own.pop("benchmarks", {})
        for key, value in (("parent", parent), ("group", group)):
            if value is not None and not isinstance(value, str):
                raise SettingsError(f"{key} is {value!r}, expected a name")
        aliases = own.pop("aliases", [])
        if not isinstance(aliases, list) or not all(isinstance(alias, str) and alias for alias in aliases):
            raise SettingsError(f'aliases is {aliases!r}, expected earlier names of the model, such as ["{name}-v1"]')
        spec, written, price = _model({"name": name, **own}, folder)
        group = group or (name if backend_kind(spec.backend).local else spec.backend)
        return ModelTable(spec, fingerprint_of(written), price, parent, group, _benchmarks(benchmarks), tuple(aliases))


def aliases(models: Mapping[str, ModelTable]) -> dict[str, str]:
    """Earlier name → the model's name.

    Raises:
        SettingsError: an earlier name is that of a model of the pool, or of two models.
    """
    named: dict[str, str] = {}
    for name, model in models.items():
        for alias in model.aliases:
            if alias in models or named.setdefault(alias, name) != name:
                other = alias if alias in models else named[alias]
                raise SettingsError(f"[models.{name}] aliases has {alias!r}, which also names [models.{other}]")
    return named


def judge_table(name: str, table: Mapping[str, Any], folder: Path) -> JudgeTable:
    """Read `[judges.NAME]` with its model.

    Raises:
        SettingsError: names the table, the key, its value, and what was expected.
    """
    with errors_in(f"[judges.{name}]"):
        _check_name(name)
        if "kind" not in table:
            raise SettingsError("lacks the key kind")
        own, kind, price, written = {"name": name, **table}, judge_kind(table["kind"]), None, None
        if "model" not in own and kind.needs_model:
            raise SettingsError(f"is of kind {own['kind']!r} and needs a table [judges.{name}.model]")
        if not isinstance(own.get("model", {}), dict):
            raise SettingsError(f"model is {own['model']!r}, expected a table [judges.{name}.model]")
    if "model" in own:
        with errors_in(f"[judges.{name}.model]"):
            # Greedy unless the pool file says otherwise, so that a judge gives the same verdict twice.
            own["model"], written, price = _model({"name": name, "temperature": 0.0, **own["model"]}, folder)
    with errors_in(f"[judges.{name}]"):
        add_template(own, folder, kind.has_template)
        spec = convert({"both_orders": kind.sees_order, **own}, JudgeSpec)
        _check_key_names(spec.options)
        if spec.template_text:
            check_template(spec)
        elif kind.has_template and spec.kind in JUDGES:  # a plug-in may have templates of its own
            check_name(spec)
        return JudgeTable(spec, fingerprint_of(msgspec.structs.replace(spec, model=written)), price)


def prices(models: Mapping[str, ModelTable], judges: Mapping[str, JudgeTable]) -> dict[str, Price]:
    """The known prices, by the name of the model or judge.

    Raises:
        SettingsError: a model and a judge have the same name but different prices, and costs are stored by name.
    """
    for name, judge in judges.items():
        if judge.spec.model is not None and name in models and models[name].price != judge.price:
            raise SettingsError(
                f"[models.{name}] and [judges.{name}.model] have the same name and not the same price. "
                "Give both the same, or rename one"
            )
    tables: list[tuple[str, ModelTable | JudgeTable]] = [*models.items(), *judges.items()]
    return {name: table.price for name, table in tables if table.price is not None}


def _model(table: dict[str, Any], folder: Path) -> tuple[ModelSpec, ModelSpec, Price | None]:
    """The specification with its checkpoint's absolute folder, the same as it is written, and the price."""
    price = _price(table.pop("price")) if "price" in table else None
    for key in ("backend", "model"):
        if key not in table:
            raise SettingsError(f"lacks the key {key}")
    _check_key_name("api_key_env", table.get("api_key_env"))
    if "adaptive_concurrency" in table:
        raise SettingsError("has the key adaptive_concurrency: the limit is adaptive where concurrency is not set")
    spec = written = convert({"adaptive_concurrency": "concurrency" not in table, **table}, ModelSpec)
    _check_key_names(spec.options)
    kind = backend_kind(spec.backend)
    if kind.local:
        check_local(spec)
    if kind.needs_base_url and not spec.base_url:
        raise SettingsError(f'has backend "{spec.backend}" but no base_url (for instance "http://127.0.0.1:8000/v1")')
    if spec.base_url:
        _check_url(spec.base_url)
    if spec.revision is not None and (not kind.local or (folder / Path(spec.model).expanduser()).is_dir()):
        raise SettingsError(f"revision is {spec.revision!r}: only a checkpoint on a hub has one, and this is none")
    if kind.local:
        checkpoint = (folder / Path(spec.model).expanduser()).resolve()
        if checkpoint.is_dir():
            spec = msgspec.structs.replace(spec, model=str(checkpoint))
        elif is_path(spec.model, folder) and (checkpoint.parent.is_dir() or not spec.model.startswith("/")):
            # An absolute path without a parent is that of another machine, as in a container that loads no model.
            raise SettingsError(f"model is {spec.model!r}: there is no folder {checkpoint}")
    _check_ranges(spec)
    if spec.batch:
        if not kind.has_batch_jobs:
            able = " or ".join(f'"{name}"' for name, other in BACKENDS.items() if other.has_batch_jobs)
            raise SettingsError(f'batch is true, but the backend is "{spec.backend}": only {able} has batch jobs')
        price = None if price is None else price.discounted(spec.batch_discount)
    _check_fields(spec)
    return spec, written, price


def _check_fields(spec: ModelSpec) -> None:
    for key, name in spec.fields.items():
        check_known(key, RENAMED, "fields", "setting that can be renamed")
        if not name or name in ("model", "messages"):
            raise SettingsError(f"fields.{key} is {name!r}, expected the endpoint's name of {key}")


def _check_ranges(spec: ModelSpec) -> None:
    for key, good, expected in (
        ("temperature", spec.temperature == "default" or 0 <= spec.temperature < math.inf, '0 or more, or "default"'),
        ("top_p", spec.top_p == "default" or 0 < spec.top_p <= 1, 'above 0, at most 1, or "default"'),
        ("max_tokens", spec.max_tokens == "default" or spec.max_tokens >= 1, '1 or more, or "default"'),
        ("concurrency", spec.concurrency >= 1, "1 or more"),
        ("timeout_s", spec.timeout_s > 0, "above 0"),
        ("max_retries", spec.max_retries >= 0, "0 or more"),
        ("rate_limit_wait_s", spec.rate_limit_wait_s >= 0, "0 or more"),
        ("outage_wait_s", spec.outage_wait_s >= 0, "0 or more"),
        ("batch_requests", 1 <= spec.batch_requests <= 50_000, "1 to 50000"),
        ("batch_wait_s", spec.batch_wait_s >= 0, "0 or more"),
        ("batch_poll_s", spec.batch_poll_s > 0, "above 0"),
        ("batch_discount", 0 <= spec.batch_discount <= 1, "0 to 1"),
        ("requests_per_minute", spec.requests_per_minute is None or 0 < spec.requests_per_minute < math.inf, "above 0"),
        ("tokens_per_minute", spec.tokens_per_minute is None or 0 < spec.tokens_per_minute < math.inf, "above 0"),
    ):
        if not good:
            raise SettingsError(f"{key} is {getattr(spec, key)!r}, expected {expected}")


def is_path(model: str, folder: Path) -> bool:
    """Whether a checkpoint's name can only be a folder: a hub's names are NAME or ORGANIZATION/NAME."""
    return not _HUB_NAME.fullmatch(model) or ("/" in model and (folder / model.partition("/")[0]).is_dir())


def _check_url(base_url: str) -> None:
    """Refuse an address that no call could be made to, without repeating a password or a key in it."""
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        shown = "not an address" if set("@?") & set(base_url) else f"{base_url!r}"
        raise SettingsError(
            f'base_url is {shown}, expected one that begins with http:// or https://, such as "http://127.0.0.1:8000/v1"'
        )


def _check_key_names(options: Mapping[str, Any]) -> None:
    """Check every option that names a variable: those of plug-ins end in `_env`, as KARMA's own does."""
    for name, value in options.items():
        if name.endswith("_env"):
            _check_key_name(name, value)


def _check_key_name(option: str, value: Any) -> None:
    """Refuse a key where the name of an environment variable belongs, without repeating it; and KARMA's own variables.

    Those hold the signing key and the database's password, which no endpoint may get.
    """
    if isinstance(value, str) and value.upper().startswith("KARMA_") and _VARIABLE.fullmatch(value):
        raise SettingsError(
            f"{option} is {value!r}: variables of KARMA's own are sent to no endpoint. Choose another name"
        )
    if value is None or (isinstance(value, str) and value in os.environ):
        return
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value) or _KEY.match(value):
        raise SettingsError(
            f"{option} is not the name of an environment variable (it is not shown, as it may be a key). Expected a "
            'name such as "OPENAI_API_KEY"; the key itself belongs into that variable, where the worker runs'
        )


def _price(table: Any) -> Price:
    if not isinstance(table, dict):
        raise SettingsError(
            f"price is {table!r}, expected a table such as {{ input = 0.15, output = 0.6 }}, USD per million tokens"
        )
    with errors_in("price"):
        return convert(table, Price)


def _benchmarks(scores: Any) -> dict[str, float]:
    if not isinstance(scores, dict):
        raise SettingsError(f"benchmarks is {scores!r}, expected a table such as {{ifeval = 0.71}}")
    for name, score in scores.items():
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise SettingsError(f"benchmarks.{name} is {score!r}, expected a number; higher is better")
    return {name: float(score) for name, score in scores.items()}


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise SettingsError(f"the name {name!r} must be letters, digits, dots, dashes and underscores, 1 to 100")
