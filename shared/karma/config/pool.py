"""The pool file, `pool.toml`: models, judges, streams and limits. It is validated when it is read.

Unknown keys are errors. An error names the file, the key, its value, and what was expected.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from karma.config.derived_streams import CANARIES, REJUDGE, derivation
from karma.config.goals import DEFAULT_GOAL, GOALS, LEAST_MODELS, Goal, with_goal
from karma.config.judge_calls import check_judge_settings
from karma.config.models import aliases, judge_table, model_table, prices
from karma.config.settings import PipelineSettings, Price, StreamSettings
from karma.config.tables import check_known, convert, errors_in
from karma.errors import SettingsError, did_you_mean
from karma.messages import JudgeSpec, ModelSpec
from karma.plugins.registry import judge_kind, policy_kind

_T = TypeVar("_T")
_TABLES = ("models", "judges", "stream", "streams", "pipeline")


@dataclass(frozen=True)
class Pool:
    """The pool file: models, judges, streams and limits."""

    path: Path
    models: Mapping[str, ModelSpec]
    parents: Mapping[str, str]  # a model that continues another → that other
    groups: Mapping[str, str]  # model → the group of models in one process
    judges: Mapping[str, JudgeSpec]
    default_stream: StreamSettings  # of a new stream without a table of its own
    streams: Mapping[str, StreamSettings]  # of new streams
    pipeline: PipelineSettings
    benchmarks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # model → benchmark → score
    prices: Mapping[str, Price] = field(default_factory=dict)  # of models and judges; unknown if missing
    model_fingerprints: Mapping[str, str] = field(default_factory=dict)  # of what is asked of each model
    judge_fingerprints: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)  # earlier name of a model → its name
    # (goal that a stream began with, its table; "" is [stream]) → its settings, where the table names no goal
    begun: Mapping[tuple[str, str], StreamSettings] = field(default_factory=dict)
    people: tuple[str, ...] = ()  # judges that are not asked: their verdicts come from a file

    def stream(self, name: str, began_with: str | None = None) -> StreamSettings:
        """The settings of a stream; a derived stream has its base's settings, changed as its name says.

        What the table says goes first, then the settings of the goal that it names, then those of the goal that the
        stream began with.

        Args:
            name: of the stream.
            began_with: its recorded goal (`karma.store.streams`); None for a new stream. Only settings that a goal
                chooses depend on it.
        """
        derived = derivation(name)
        if derived is None:
            own = name in self.streams
            new = self.streams[name] if own else self.default_stream
            return self.begun.get((began_with or "", name if own else ""), new)
        base = self.stream(derived.base, began_with)
        if derived.policy in (REJUDGE, CANARIES):  # every pair is judged: no budget chooses among them
            budget = {"judge_share": None, "judge_calls_per_hour": None, "label_at": None, "max_label_error": None}
            judges = derived.judges or base.judges  # each of them is asked
            return msgspec.structs.replace(base, judges=judges, first_judge=None, judges_per_pair=0, **budget)
        pairs = base.pairs_per_prompt if derived.pairs_per_prompt is None else derived.pairs_per_prompt
        return msgspec.structs.replace(base, policy=derived.policy, pairs_per_prompt=pairs)

    def every_stream(self) -> Iterator[tuple[str, StreamSettings]]:
        """The table and the settings of every kind of stream that there may be, whatever goal it began with."""
        yield "[stream]", self.default_stream
        yield from ((f"[streams.{name}]", stream) for name, stream in self.streams.items())
        for (goal, name), stream in self.begun.items():
            yield _begun_with(goal, name), stream

    def tie_margin(self, name: str) -> float:
        """The tie margin of a stream."""
        return self.stream(name).tie_margin

    def stream_models(self, name: str) -> tuple[str, ...]:
        """The models that may answer prompts of a stream."""
        return self.stream(name).models or tuple(self.models)

    def stream_judges(self, name: str) -> tuple[JudgeSpec, ...]:
        """The judges of a stream; those of a rejudged stream that this pool lacks are left out (`missing_judges`)."""
        named = self.stream(name).judges or tuple(self.judges)
        return tuple(self.judges[judge] for judge in named if judge in self.judges)

    def missing_judges(self, name: str) -> list[str]:
        """The judges that the name of a rejudged stream asks for and the pool lacks."""
        return [judge for judge in self.stream(name).judges if judge not in self.judges]

    def _judges_of(self, stream: StreamSettings) -> tuple[JudgeSpec, ...]:
        return tuple(self.judges[judge] for judge in stream.judges or tuple(self.judges))

    @classmethod
    def read(cls, path: Path) -> Pool:
        """Read and validate a pool file.

        Raises:
            SettingsError: names the file, the key, its value, and what was expected.
        """
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # with or without a byte order mark
        except FileNotFoundError as cause:
            raise SettingsError(
                f"{path}: no such file. Write a pool file (`karma init`, or docs/pool.md), or name one with --pool "
                "or KARMA_POOL."
            ) from cause
        except UnicodeDecodeError as cause:
            raise SettingsError(f"{path}: not UTF-8 at byte {cause.start}. Save it as UTF-8.") from cause
        except OSError as cause:
            raise SettingsError(f"{path}: cannot be read: {cause}") from cause
        except tomllib.TOMLDecodeError as cause:
            raise SettingsError(f"{path}: not TOML: {cause}") from cause
        return cls.from_tables(tables, path)

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], path: Path) -> Pool:
        """The pool that parsed TOML describes; `path` is for messages and for relative folders.

        Raises:
            SettingsError: as `read` does.
        """
        with errors_in(f"{path}:"):
            _check_tables(tables)
            models = {name: model_table(name, table, path.parent) for name, table in tables.get("models", {}).items()}
            every = {name: judge_table(name, table, path.parent) for name, table in tables.get("judges", {}).items()}
            judges = {name: judge for name, judge in every.items() if judge_kind(judge.spec.kind).asked}
            people = tuple(name for name in every if name not in judges)
            for_all = tables.get("stream", {})
            kinds = {name: judge.spec.kind for name, judge in judges.items()}
            default_stream = _stream("[stream]", for_all, models, kinds)
            own = {name: {**for_all, **table} for name, table in tables.get("streams", {}).items()}
            streams = {name: _stream(f"[streams.{name}]", table, models, kinds) for name, table in own.items()}
            pool = cls(
                path,
                models={name: model.spec for name, model in models.items()},
                parents={name: model.parent for name, model in models.items() if model.parent is not None},
                groups={name: model.group for name, model in models.items()},
                judges={name: judge.spec for name, judge in judges.items()},
                default_stream=default_stream,
                streams=streams,
                pipeline=_table("[pipeline]", tables.get("pipeline", {}), PipelineSettings),
                benchmarks={name: model.benchmarks for name, model in models.items() if model.benchmarks},
                prices=prices(models, judges),
                aliases=aliases(models),
                model_fingerprints={name: model.fingerprint for name, model in models.items()},
                judge_fingerprints={name: judge.fingerprint for name, judge in judges.items()},
                begun=_begun({"": for_all, **own}, models, kinds),
                people=people,
            )
            pool._check_references()
        return pool

    def _check_references(self) -> None:
        if not self.judges:
            raise SettingsError(
                "no judge is named, so no pair could ever be resolved. Add a table [judges.NAME]; "
                'kind = "prior" needs no model.'
            )
        for model, parent in self.parents.items():
            check_known(parent, self.models, f"[models.{model}] parent", "model")
        for where, stream in self.every_stream():
            with errors_in(where):
                self._check_stream(stream)

    def _check_stream(self, stream: StreamSettings) -> None:
        for model in stream.models:
            check_known(model, self.models, "models", "model")
        for judge in stream.judges:
            if judge in self.people:
                raise SettingsError(
                    f"judges names {judge!r}, a person: no worker asks people. Leave the name out, and record verdicts "
                    "with `karma verdicts`."
                )
            check_known(judge, self.judges, "judges", "judge")
        check_judge_settings(self._judges_of(stream), stream)
        models = stream.models or tuple(self.models)
        if stream.target is not None:
            check_known(stream.target, models, "target", "model of the stream")
        kinds = [self.judges[judge].kind for judge in stream.judges or self.judges]
        policy = policy_kind(stream.policy)
        if policy.pairs_equals and not any(judge_kind(kind).reads_responses for kind in kinds):
            raise SettingsError(
                f'pairs close kin (policy = "{stream.policy}") and labels them by the competencies alone '
                f'(the only judge is of kind "{kinds[0]}"). Kin are models of which neither is known to be better, so '
                "such labels would be little more than chance. Name a judge that reads responses, or another policy."
            )
        if stream.label_at is not None and 0 < len(models) < LEAST_MODELS:
            raise SettingsError(
                f"label_at is {stream.label_at:g}, but the stream has {len(models)} models. Labels by prediction would "
                f"be of few pairs of models again and again: name {LEAST_MODELS} or more, or leave label_at out."
            )
        if len(models) == 1 and not policy.samples_one_model:
            raise SettingsError(
                f"has one model, {models[0]!r}: no pair can be formed. "
                'Add a second model, or set policy = "self" for two samples of one.'
            )


def _check_tables(tables: Mapping[str, Any]) -> None:
    for key in tables:
        if key not in _TABLES:
            raise SettingsError(f"unknown table [{key}]{did_you_mean(key, _TABLES)}")
    for key in ("models", "judges", "streams"):
        value = tables.get(key, {})
        if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
            raise SettingsError(f"{key} must be tables, each headed [{key}.NAME]")


def _begun(
    tables: Mapping[str, Any], models: Mapping[str, Any], kinds: Mapping[str, str]
) -> dict[tuple[str, str], StreamSettings]:
    """`Pool.begun`; the goal of new streams is left out."""
    goals: list[Goal] = [goal for goal in GOALS if goal != DEFAULT_GOAL]
    return {
        (goal, name): _stream(_begun_with(goal, name), table, models, kinds, goal)
        for name, table in tables.items()
        for goal in goals
        if "goal" not in table
    }


def _begun_with(goal: str, name: str) -> str:
    """What an error calls the settings of streams that began with a goal."""
    table = f"[streams.{name}]" if name else "[stream]"
    return f'{table} (for streams that began with goal = "{goal}")'


def _stream(
    where: str, table: Any, models: Mapping[str, Any], kinds: Mapping[str, str], unless_named: Goal = DEFAULT_GOAL
) -> StreamSettings:
    """The settings of a stream with those that its goal chooses; `kinds` are those of the pool's judges by name."""
    if isinstance(table, Mapping):
        of = {key: table[key] if isinstance(table.get(key), list | tuple) else () for key in ("models", "judges")}
        own_kinds = [kinds[name] for name in of["judges"] or kinds if isinstance(name, str) and name in kinds]
        table = with_goal(table, len(of["models"] or models), own_kinds, unless_named)
    return _table(where, table, StreamSettings)


def _table(where: str, table: Any, kind: type[_T]) -> _T:
    with errors_in(where):
        return convert(table, kind)
