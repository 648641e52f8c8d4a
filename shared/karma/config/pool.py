"""The pool file, `pool.toml`: models, judges, streams and limits. Validated when it is read.

Unknown keys are errors, and an error names the file, the key, what was found and what was expected.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from karma.config.settings import PipelineSettings, Price, StreamSettings
from karma.config.streams import derivation
from karma.errors import SettingsError, did_you_mean
from karma.messages import JudgeSpec, ModelSpec

#: Judges to whom the order in which they are shown two responses can make no difference.
ORDER_BLIND_JUDGES = frozenset({"likelihood", "reward", "verifier", "prior"})


@dataclass(frozen=True)
class Pool:
    """The pool file: models, judges, streams and limits."""

    path: Path
    models: Mapping[str, ModelSpec]
    parents: Mapping[str, str]  # a model that continues another → that other
    groups: Mapping[str, str]  # model → the group whose process holds it
    judges: Mapping[str, JudgeSpec]
    default_stream: StreamSettings
    streams: Mapping[str, StreamSettings]
    pipeline: PipelineSettings
    benchmarks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # model → benchmark → score
    prices: Mapping[str, Price] = field(default_factory=dict)  # of models and judges; where none is given: unknown

    def stream(self, name: str) -> StreamSettings:
        """The settings of a stream; those of a derived one are its base's with what its name says."""
        derived = derivation(name)
        if derived is None:
            return self.streams.get(name, self.default_stream)
        base = self.stream(derived.base)
        pairs = base.pairs_per_prompt if derived.pairs_per_prompt is None else derived.pairs_per_prompt
        return msgspec.structs.replace(base, policy=derived.policy, pairs_per_prompt=pairs)

    def tie_margin(self, name: str) -> float:
        """The tie margin of a stream."""
        return self.stream(name).tie_margin

    def stream_models(self, name: str) -> tuple[str, ...]:
        """The models that may answer prompts of a stream."""
        return self.stream(name).models or tuple(self.models)

    def stream_judges(self, name: str) -> tuple[JudgeSpec, ...]:
        """The judges of a stream."""
        return tuple(self.judges[judge] for judge in self.stream(name).judges or tuple(self.judges))

    @classmethod
    def read(cls, path: Path) -> Pool:
        """Read and validate a pool file.

        Raises:
            SettingsError: names the file, the key, what was found and what was expected.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as cause:
            raise SettingsError(
                f"{path}: no such file. Write a pool file (see docs/pool.md) and name it with --pool or KARMA_POOL."
            ) from cause
        except (OSError, UnicodeDecodeError) as cause:
            raise SettingsError(f"{path}: cannot be read: {cause}") from cause
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as cause:
            raise SettingsError(f"{path}: not TOML: {cause}") from cause
        return cls.from_tables(tables, path)

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], path: Path) -> Pool:
        """The pool that parsed TOML describes; `path` is for messages and for relative folders."""
        known = {"models", "judges", "stream", "streams", "pipeline"}
        for key in tables:
            if key not in known:
                raise SettingsError(f"{path}: unknown table [{key}]{did_you_mean(key, known)}")
        for key in ("models", "judges", "streams"):
            _tables_in(tables, key, path)
        models: dict[str, ModelSpec] = {}
        parents: dict[str, str] = {}
        groups: dict[str, str] = {}
        benchmarks: dict[str, dict[str, float]] = {}
        prices: dict[str, dict[str, Price]] = {"models": {}, "judges": {}}
        for name, table in tables.get("models", {}).items():
            _check_name(name, f"{path}: [models.{name}]")
            own = dict(table)
            where = f"[models.{name}]"
            parent, group = own.pop("parent", None), own.pop("group", None)
            for key, value in (("parent", parent), ("group", group)):
                if value is not None and not isinstance(value, str):
                    raise SettingsError(f"{path}: {where} {key} is {value!r}, expected a name")
            scores = _benchmarks(own.pop("benchmarks", {}), path, where)
            if "price" in own:
                prices["models"][name] = _price(own.pop("price"), path, where)
            models[name] = _model({"name": name, **own}, path, where)
            if scores:
                benchmarks[name] = scores
            groups[name] = group or (name if models[name].backend == "transformers" else models[name].backend)
            if parent is not None:
                parents[name] = parent
        judges: dict[str, JudgeSpec] = {}
        for name, table in tables.get("judges", {}).items():
            own = dict(table)
            asked = own.get("model")
            if isinstance(asked, dict) and "price" in asked:
                own["model"] = {key: value for key, value in asked.items() if key != "price"}
                prices["judges"][name] = _price(asked["price"], path, f"[judges.{name}.model]")
            judges[name] = _judge(name, own, path)
        default = _convert(tables.get("stream", {}), StreamSettings, path, "[stream]")
        streams = {
            name: _convert({**tables.get("stream", {}), **table}, StreamSettings, path, f"[streams.{name}]")
            for name, table in tables.get("streams", {}).items()
        }
        pipeline = _convert(tables.get("pipeline", {}), PipelineSettings, path, "[pipeline]")
        pool = cls(
            path,
            models,
            parents,
            groups,
            judges,
            default,
            streams,
            pipeline,
            benchmarks,
            _by_name(prices, models, judges, path),
        )
        pool._check_references()
        return pool

    def _check_references(self) -> None:
        if not self.judges:
            raise SettingsError(
                f"{self.path}: no judge is named, so no pair could ever be resolved. Add a table [judges.NAME]; "
                'kind = "prior" needs no model.'
            )
        for model, parent in self.parents.items():
            self._known(parent, self.models, f"[models.{model}] parent", "model")
        for where, stream in [
            ("[stream]", self.default_stream),
            *((f"[streams.{n}]", s) for n, s in self.streams.items()),
        ]:
            for model in stream.models:
                self._known(model, self.models, f"{where} models", "model")
            for judge in stream.judges:
                self._known(judge, self.judges, f"{where} judges", "judge")
            if stream.target is not None:
                self._known(stream.target, stream.models or self.models, f"{where} target", "model of the stream")
            used = [self.judges[judge] for judge in stream.judges or tuple(self.judges)]
            if stream.policy == "kin" and all(judge.kind == "prior" for judge in used):
                raise SettingsError(
                    f'{self.path}: {where} pairs close kin (policy = "kin") and labels them by the competencies alone '
                    '(the only judge is of kind "prior"). Kin are models of which neither is known to be better, so '
                    "such labels would be little more than chance. Name a judge that reads the responses, or another "
                    "policy."
                )
            names = stream.models or tuple(self.models)
            if len(names) == 1 and stream.policy != "self":
                raise SettingsError(
                    f"{self.path}: {where} has one model, {names[0]!r}: no pair can be formed. "
                    'Add a second model, or set policy = "self" for two samples of one.'
                )

    def _known(self, name: str, among: Any, where: str, what: str) -> None:
        if name not in among:
            raise SettingsError(f"{self.path}: {where} names {name!r}, which is no {what}{did_you_mean(name, among)}")


def _model(table: Mapping[str, Any], path: Path, where: str) -> ModelSpec:
    own = dict(table)
    for key in ("backend", "model"):
        if key not in own:
            raise SettingsError(f"{path}: {where} lacks the key {key}")
    spec = _convert(own, ModelSpec, path, where)
    if spec.backend == "openai" and not spec.base_url:
        raise SettingsError(
            f'{path}: {where} has backend "openai" but no base_url (for instance "http://127.0.0.1:8000/v1")'
        )
    if spec.backend == "transformers":
        folder = (path.parent / spec.model).resolve()
        if folder.is_dir():
            spec = msgspec.structs.replace(spec, model=str(folder))
        elif spec.model.startswith((".", "/")):
            raise SettingsError(f"{path}: {where} model is {spec.model!r}: there is no folder {folder}")
    for key, good in (
        ("temperature", spec.temperature >= 0),
        ("top_p", 0 < spec.top_p <= 1),
        ("max_tokens", spec.max_tokens >= 1),
        ("concurrency", spec.concurrency >= 1),
        ("timeout_s", spec.timeout_s > 0),
        ("max_retries", spec.max_retries >= 0),
    ):
        if not good:
            raise SettingsError(f"{path}: {where} {key} is {getattr(spec, key)!r}, out of range")
    return spec


def _benchmarks(scores: Any, path: Path, where: str) -> dict[str, float]:
    if not isinstance(scores, dict):
        raise SettingsError(f"{path}: {where} benchmarks is {scores!r}, expected a table such as {{ifeval = 0.71}}")
    for name, score in scores.items():
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise SettingsError(f"{path}: {where} benchmarks.{name} is {score!r}, expected a number; higher is better")
    return {name: float(score) for name, score in scores.items()}


def _price(table: Any, path: Path, where: str) -> Price:
    if not isinstance(table, dict):
        raise SettingsError(
            f"{path}: {where} price is {table!r}, expected a table such as {{ input = 0.15, output = 0.6 }}, "
            "USD per million tokens"
        )
    return _convert(table, Price, path, f"{where} price")


def _by_name(
    prices: Mapping[str, Mapping[str, Price]],
    models: Mapping[str, ModelSpec],
    judges: Mapping[str, JudgeSpec],
    path: Path,
) -> dict[str, Price]:
    """The prices by name. Costs are kept by name, so a model and a judge of one name must have one price."""
    for name, judge in judges.items():
        if judge.model and name in models and prices["models"].get(name) != prices["judges"].get(name):
            raise SettingsError(
                f"{path}: [models.{name}] and [judges.{name}.model] have the same name and not the same price. "
                "Give both the same, or rename one"
            )
    return {**prices["models"], **prices["judges"]}


def _judge(name: str, table: Mapping[str, Any], path: Path) -> JudgeSpec:
    where = f"[judges.{name}]"
    _check_name(name, f"{path}: {where}")
    own = dict(table)
    if "kind" not in own:
        raise SettingsError(f"{path}: {where} lacks the key kind")
    if "model" in own:
        if not isinstance(own["model"], dict):
            raise SettingsError(f"{path}: {where} model is {own['model']!r}, expected a table [judges.{name}.model]")
        # A judge that is asked twice should say the same twice: greedy, unless the pool file says otherwise.
        own["model"] = _model({"name": name, "temperature": 0.0, **own["model"]}, path, f"[judges.{name}.model]")
    elif own["kind"] in ("likelihood", "openai", "transformers"):
        raise SettingsError(f"{path}: {where} is of kind {own['kind']!r} and needs a table [judges.{name}.model]")
    own.setdefault("both_orders", own["kind"] not in ORDER_BLIND_JUDGES)
    return _convert({"name": name, **own}, JudgeSpec, path, where)


_T = TypeVar("_T")


def _convert(table: Any, kind: type[_T], path: Path, where: str) -> _T:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as cause:
        message = str(cause)
        unknown = re.search(r"unknown field `([^`]+)`", message)
        if unknown:
            known = [field.name for field in msgspec.structs.fields(kind)]  # type: ignore[arg-type]
            raise SettingsError(
                f"{path}: {where} unknown key {unknown[1]!r}{did_you_mean(unknown[1], known)}"
            ) from cause
        key = re.search(r"at `\$\.([^`]+)`", message)
        found = f" {key[1]} is {table.get(key[1].split('[')[0].split('.')[0])!r}:" if key else ""
        raise SettingsError(f"{path}: {where}{found} {message.split(' - at', maxsplit=1)[0]}") from cause


def _tables_in(tables: Mapping[str, Any], key: str, path: Path) -> None:
    value = tables.get(key, {})
    if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
        raise SettingsError(f"{path}: {key} must be tables, each headed [{key}.NAME]")


def _check_name(name: str, where: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise SettingsError(
            f"{where}: the name {name!r} must be letters, digits, dots, dashes and underscores, 1 to 100"
        )
