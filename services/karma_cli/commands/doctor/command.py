"""`karma doctor`: what does not work of models, judges, Redis, the store and this machine, why, and what helps."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from karma.config.environment import Environment
from karma.config.parts import check_parts
from karma.config.pool import Pool
from karma.errors import SettingsError, did_you_mean
from karma.messages import JudgeSpec, ModelSpec
from karma.telemetry.escaping import escape_control
from karma_cli.commands.doctor.calls import is_local
from karma_cli.commands.doctor.checkup import Checked, check_all
from karma_cli.commands.doctor.findings import KINDS, Finding, finding
from karma_cli.commands.doctor.machine import Part, machine_parts
from karma_cli.commands.doctor.pool_findings import kin_findings, pool_findings
from karma_cli.options import HomeOption, PoolOption, read_environment
from karma_cli.output import Output, with_format_flags
from karma_cli.progress import working

_SHOWN_LIMITS = 3


@with_format_flags
def doctor(
    output: Output,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Only these models and judges. Default: everything.")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="One call of each remote model and judge, and nothing else, as karma up does it."),
    ] = False,
    remote: Annotated[
        bool, typer.Option("--remote", help="No local models and judges: their folders may be on another machine.")
    ] = False,
    pool: PoolOption = None,
    home: HomeOption = None,
) -> None:
    """Find out what does not work: models, judges, keys, the pool file, Redis, the store and the disk.

    Each model and judge gets one small call, and a second one that asks for log-probabilities; a judge also one with
    long responses. Local models are loaded one after another.

    Every finding has a code (docs/doctor.md). Exits 1 if something does not work, 2 if the pool file is wrong.

    `-q` prints the names of what does not work.
    """
    env = read_environment(home, pool)
    logging.disable()  # a failed call is a finding
    findings: list[Finding] = []
    read_pool = _pool(env, findings)
    specs = [] if read_pool is None else _specs(read_pool, names or ())
    specs = [spec for spec in specs if not (remote and is_local(spec))]
    flags = [f"--pool={env.pool_path}", f"--home={env.home}"]
    with working(output, "calling models and judges"):
        checked = [] if read_pool is None else check_all(read_pool, specs, quick, flags)
        parts = [] if names or quick else machine_parts(env)
    if read_pool is not None:
        findings += [] if names or quick else pool_findings(read_pool)
        kin = kin_findings(read_pool, [spec.name for spec in specs])
        checked = [_with(one, kin) for one in checked]
    findings += [found for part in parts for found in part.findings]
    findings += [found for one in checked for found in one.findings]
    findings.sort(key=lambda found: found.severity)  # errors first
    broken = list(dict.fromkeys(found.name for found in findings if found.severity == "error"))
    data: dict[str, Any] = {
        "checked": [one.data() for one in checked],
        "machine": [part.data() for part in parts],
        "findings": [found.data() for found in findings],
    }
    output.result(data, _shown(checked, parts, findings), broken)
    if any(found.code == "pool-file" for found in findings):
        raise typer.Exit(SettingsError.exit_code)
    if broken:
        raise typer.Exit(1)


def _pool(env: Environment, findings: list[Finding]) -> Pool | None:
    """The pool, or None and a finding why it cannot be used."""
    try:
        pool = Pool.read(env.pool_path)
        check_parts(pool)
    except SettingsError as cause:
        missing = None if env.pool_path.exists() else "karma init writes one"
        findings.append(finding("pool-file", "pool", env.pool_path.name, str(cause), missing))
        return None
    return pool


def _specs(pool: Pool, names: Sequence[str]) -> list[ModelSpec | JudgeSpec]:
    """The models and judges to check.

    Raises:
        SettingsError: a name is unknown.
    """
    known: list[ModelSpec | JudgeSpec] = [*pool.models.values(), *pool.judges.values()]
    for name in names:
        if all(name != spec.name for spec in known):
            suggestion = did_you_mean(name, [spec.name for spec in known])
            raise SettingsError(f"no model and no judge is called {name!r}{suggestion}")
    return [spec for spec in known if not names or spec.name in names]


def _with(one: Checked, kin: Sequence[Finding]) -> Checked:
    own = tuple(found for found in kin if (found.of, found.name) == (one.of, one.name))
    return Checked(one.of, one.name, one.measured, (*one.findings, *own))


def _shown(checked: Sequence[Checked], parts: Sequence[Part], findings: Sequence[Finding]) -> RenderableType:
    shown: list[RenderableType] = []
    if checked:
        columns = ("", "name", "state", "latency", "tokens in, out", "price", "temperature", "logprobs", "limits")
        table = Table(*columns, title="models and judges", title_justify="left")
        for one in checked:
            table.add_row(*(Text(escape_control(cell)) for cell in _row(one)))
        shown.append(table)
    if parts:
        table = Table("", "", title="this machine", title_justify="left", show_header=False)
        for part in parts:
            table.add_row(part.name, Text(escape_control(part.said)))
        shown.append(table)
    for found in findings:
        sign, style = ("×", "red") if found.severity == "error" else ("!", "yellow")
        shown.append(Text(f"{sign} {found.of} {escape_control(found.name)}: {found.code}", style=style))
        shown.append(Text(f"  read: {escape_control(found.read)}"))
        shown.append(Text(f"  expected: {KINDS[found.code].expected}"))
        shown.append(Text(f"  what helps: {escape_control(found.help)}"))
    if not findings:
        shown.append(Text("nothing is wrong"))
    return Group(*shown)


def _row(one: Checked) -> list[str]:
    measured = one.measured
    latency, tokens = measured.get("latency_s"), (measured.get("tokens_in"), measured.get("tokens_out"))
    price = measured.get("price")
    return [
        one.of,
        one.name,
        "works" if one.works else "does not work",
        "–" if latency is None else f"{latency:.2f} s",
        ", ".join("?" if count is None else f"{count:,}" for count in tokens),
        "unknown" if price is None else f"${price['input']:g}, ${price['output']:g} per million",
        str(measured.get("temperature", "unknown")),
        str(measured.get("logprobs", "unknown")),
        _limits(measured.get("limits", {})),
    ]


def _limits(headers: dict[str, str]) -> str:
    named = [f"{name.removeprefix('x-ratelimit-')} {value}" for name, value in headers.items()]
    rest = len(named) - _SHOWN_LIMITS
    return "; ".join([*named[:_SHOWN_LIMITS], *([f"{rest} more"] if rest > 0 else [])]) or "not given"
