"""`karma check`: whether every model and judge of the pool file works, by one small call of each."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec.structs import replace
from rich.table import Table
from rich.text import Text

from karma.config.kin_judges import kin_judges, notices
from karma.config.parts import check_parts
from karma.config.pool import Pool
from karma.errors import SettingsError, did_you_mean
from karma.messages import GenerateBatch, GenerateItem, Header, JudgeBatch, JudgeItem, JudgeSpec, ModelSpec, Turn
from karma.plugins.registry import backend_kind, judge_kind
from karma.telemetry.escaping import escape_control
from karma.telemetry.failure_kinds import kind_of
from karma_cli.options import HomeOption, PoolOption, read_environment
from karma_cli.output import Output, with_format_flags
from karma_cli.progress import working
from karma_monitor.queries.failures import help_for

#: Seconds that one call may take here.
_CALL_S = 30.0
_AT_ONCE = 32
_SHOWN_CHARACTERS = 200

_ASKED = (Turn("user", "What is 2 + 2? Reply with the number only."),)
_RIGHT, _WRONG = "4", "5"

#: Why a model or judge does not work, and what helps; None where it works.
Fault = tuple[str, str] | None


@with_format_flags
def check(
    output: Output,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Only these models and judges. Default: all.")
    ] = None,
    local: Annotated[
        bool, typer.Option("--local/--no-local", help="Load local models too, one after another, and call them.")
    ] = True,
    pool: PoolOption = None,
    home: HomeOption = None,
) -> None:
    """Check whether every model and judge works: names, keys, folders, and one small call of each.

    It also names judges that are kin to a model that they judge: of the same model, lineage or family.

    `karma up` does the same with --no-local. Exits 1 if one does not work.

    `-q` prints the names of those that do not work.
    """
    env = read_environment(home, pool)
    read_pool = Pool.read(env.pool_path)
    check_parts(read_pool)
    known: list[ModelSpec | JudgeSpec] = [*read_pool.models.values(), *read_pool.judges.values()]
    for name in names or ():
        if all(name != spec.name for spec in known):
            suggestion = did_you_mean(name, [spec.name for spec in known])
            raise SettingsError(f"no model and no judge is called {name!r}{suggestion}")
    specs = [spec for spec in known if not names or spec.name in names]
    logging.disable()  # a failed call is a row of the result
    flags = [f"--pool={env.pool_path}", f"--home={env.home}"]
    with working(output, "calling models and judges"):
        rows = [_row(spec, fault) for spec, fault in _faults(specs, local, flags)]
    table = Table("", "name", "state", "why", "what helps", title="models and judges", title_justify="left")
    for row in rows:
        table.add_row(*(Text(escape_control(text or "")) for text in row.values()))
    broken = [row["name"] for row in rows if row["why"]]
    kin = notices(each for each in kin_judges(read_pool) if not names or each.judge in names)
    output.result({"checked": rows, "notices": kin}, table, broken)
    for notice in kin:
        output.note(notice)
    if broken:
        raise typer.Exit(1)


def _row(spec: ModelSpec | JudgeSpec, fault: Fault) -> dict[str, str | None]:
    why, helps = fault or (None, None)
    of = "model" if isinstance(spec, ModelSpec) else "judge"
    return {"of": of, "name": spec.name, "state": "does not work" if why else "works", "why": why, "help": helps}


def _faults(
    specs: Sequence[ModelSpec | JudgeSpec], local: bool, flags: Sequence[str]
) -> list[tuple[ModelSpec | JudgeSpec, Fault]]:
    """Call everything remote at once, and what is local one after another, each in a process of its own."""
    remote = [spec for spec in specs if not _is_local(spec)]
    alone = len(specs) == 1
    faults: dict[int, Fault] = {}
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        called = {id(spec): threads.submit(_call, spec) for spec in remote}
        for spec in specs:
            if _is_local(spec):
                faults[id(spec)] = _unloadable(spec) or (
                    None if not local else _call(spec) if alone else _apart(spec, flags)
                )
        faults |= {key: future.result() for key, future in called.items()}
    return [(spec, faults[id(spec)]) for spec in specs]


def _is_local(spec: ModelSpec | JudgeSpec) -> bool:
    return backend_kind(spec.backend).local if isinstance(spec, ModelSpec) else judge_kind(spec.kind).local


def _call(spec: ModelSpec | JudgeSpec) -> Fault:
    """One small call by the service's own code."""
    header = Header(stream="check", batch="check", token="check")  # noqa: S106 - no secret
    failure: str | None = "no answer"
    if isinstance(spec, ModelSpec):
        from karma_generation.handlers import generate
        from karma_generation.worker import ask

        item = GenerateItem(item=1, prompt=1, sample=0, seed=1, messages=_ASKED)
        for scored in generate(
            GenerateBatch(header=header, model=spec.name, specification="", items=(item,)), _impatient(spec), ask
        ):
            failure = scored.items[0].failure
    else:
        from karma_judging.handlers import judge
        from karma_judging.worker import ask as ask_judge

        model = None if spec.model is None else _impatient(spec.model)
        pair = JudgeItem(
            item=1, pair=1, prompt=1, order=0, seed=1, messages=_ASKED, first=_RIGHT, second=_WRONG,
            reference=_RIGHT, prior=0.5,
        )  # fmt: skip
        asked = JudgeBatch(header=header, judge=spec.name, specification="", items=(pair,))
        for learnt in judge(asked, replace(spec, model=model), ask_judge):
            failure = learnt.items[0].failure
    if failure is None or kind_of(failure) == "rate_limited":  # an endpoint that is busy works
        return None
    return failure[:_SHOWN_CHARACTERS], _help(failure, spec)


def _impatient(spec: ModelSpec) -> ModelSpec:
    return replace(spec, timeout_s=min(spec.timeout_s, _CALL_S), max_retries=0)


def _help(failure: str, spec: ModelSpec | JudgeSpec) -> str:
    model = spec if isinstance(spec, ModelSpec) else spec.model
    url = (model.base_url or "").rstrip("/") if model else ""
    if url and not url.endswith("/v1") and failure[:1] in "45" and failure[:3] not in ("401", "403", "429"):
        return "base_url does not end with /v1, as that of most endpoints does"
    return help_for(failure)


def _unloadable(spec: ModelSpec | JudgeSpec) -> Fault:
    """Why a checkpoint cannot be loaded, as far as its files tell."""
    model = spec if isinstance(spec, ModelSpec) else spec.model
    if model is None:
        return None
    if find_spec("torch") is None or find_spec("transformers") is None:
        return "torch or transformers is not installed here", "pip install 'karma[local]' where the worker runs"
    folder = Path(model.model)
    if folder.is_dir():
        missing = [name for name in ("config.json", "*.safetensors") if not any(folder.glob(name))]
        if missing:
            return f"{folder} has no {' and no '.join(missing)}", "name the folder of a checkpoint with safetensors"
        return None
    from huggingface_hub import constants, try_to_load_from_cache

    if constants.HF_HUB_OFFLINE and not isinstance(
        try_to_load_from_cache(model.model, "config.json", revision=model.revision), str
    ):
        why = f"{model.model} is no folder, not in the hub's cache, and HF_HUB_OFFLINE forbids a download"
        return why, "download it once, or give its folder as model"
    return None


def _apart(spec: ModelSpec | JudgeSpec, flags: Sequence[str]) -> Fault:
    """The same check in a process of its own, whose end frees the memory of the model."""
    command = [sys.executable, "-P", "-m", "karma_cli", "check", spec.name, "--json", *flags]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - KARMA's own command
    of = "model" if isinstance(spec, ModelSpec) else "judge"
    for row in rows_of(done.stdout):
        if (row["of"], row["name"]) == (of, spec.name):
            return (row["why"], row["help"]) if row["why"] else None
    said = done.stderr.strip().splitlines()
    return (said[-1] if said else f"ended with exit code {done.returncode}")[:_SHOWN_CHARACTERS], "see its memory"


def rows_of(printed: str) -> list[dict[str, Any]]:
    """The rows that `karma check --json` printed."""
    return _printed(printed)[0]


def _printed(text: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows and the notices that `karma check --json` printed."""
    try:
        data = json.loads(text)
        return data["checked"], data["notices"]
    except (ValueError, KeyError):
        return [], []


def start(flags: Iterable[str]) -> subprocess.Popen[str]:
    """Start the check of `karma up`, in a process of its own."""
    command = [sys.executable, "-P", "-m", "karma_cli", "check", "--no-local", "--json", *flags]
    return subprocess.Popen(  # noqa: S603 - KARMA's own command
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True, env={**os.environ},
    )  # fmt: skip


def report(checking: subprocess.Popen[str], say: Callable[[str], object]) -> None:
    """Say what cannot work, and which judges are kin to what they judge, once the check of `karma up` has ended."""
    every, kin = _printed(checking.communicate()[0])
    for notice in kin:
        say(notice)
    rows = [row for row in every if row["why"]]
    for row in rows:
        say(f"the {row['of']} {row['name']} does not work: {row['why']} ({row['help']})")
    if rows:
        say("prompts that need them will fail; once they work: karma requeue failed. To check again: karma check")
