"""The checkup of every model and judge: everything remote at once, what is local one after another."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from karma.config.pool import Pool
from karma.messages import JudgeSpec, ModelSpec
from karma.telemetry.failure_kinds import kind_of
from karma_cli.commands.doctor.calls import Called, call, is_local
from karma_cli.commands.doctor.checkpoints import checkpoint_findings
from karma_cli.commands.doctor.diagnosis import diagnosed
from karma_cli.commands.doctor.findings import Finding, Of, finding
from karma_cli.commands.doctor.probes import Probed, probe

Spec = ModelSpec | JudgeSpec

_AT_ONCE = 32


@dataclass(frozen=True)
class Checked:
    """What was measured of a model or judge, as JSON data, and what is wrong with it."""

    of: Of
    name: str
    measured: dict[str, Any]
    findings: tuple[Finding, ...] = ()

    @property
    def works(self) -> bool:
        """Whether nothing keeps it from working."""
        return all(one.severity == "warning" for one in self.findings)

    def data(self) -> dict[str, Any]:
        """As JSON data."""
        state = "works" if self.works else "does not work"
        return {"of": self.of, "name": self.name, "state": state, **self.measured}


def check_all(pool: Pool, specs: Sequence[Spec], quick: bool, flags: Sequence[str]) -> list[Checked]:
    """Check models and judges; `quick` loads nothing and probes no settings. `flags` name the home and the pool."""
    checked: dict[int, Checked] = {}
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        called = {id(spec): threads.submit(_check, pool, spec, quick) for spec in specs if not is_local(spec)}
        for spec in specs:
            if is_local(spec):
                checked[id(spec)] = _local(pool, spec, quick, alone=len(specs) == 1, flags=flags)
        checked |= {key: future.result() for key, future in called.items()}
    return [checked[id(spec)] for spec in specs]


def _check(pool: Pool, spec: Spec, quick: bool) -> Checked:
    """One call, and the probes if it was answered."""
    called = call(spec)
    if called.failure is not None and kind_of(called.failure) != "nothing_to_go_by":
        return _checked(pool, spec, called, Probed(findings=(diagnosed(spec, called.failure),)))
    return _checked(pool, spec, called, Probed() if quick else probe(spec, called))


def _local(pool: Pool, spec: Spec, quick: bool, alone: bool, flags: Sequence[str]) -> Checked:
    found = checkpoint_findings(spec)
    if quick or any(one.severity == "error" for one in found):
        return _checked(pool, spec, Called(failure=None), Probed(findings=tuple(found)))
    checked = _check(pool, spec, quick) if alone else _apart(spec, flags)
    rest = [one for one in checked.findings if one.code not in {known.code for known in found}]
    findings = (*found, *(_load_failure(one) for one in rest))
    return Checked(checked.of, checked.name, checked.measured, findings)


def _load_failure(one: Finding) -> Finding:
    return finding("does-not-load", one.of, one.name, one.read) if one.code == "call-failed" else one


def _checked(pool: Pool, spec: Spec, called: Called, probed: Probed) -> Checked:
    price = pool.prices.get(spec.name)
    measured = {
        "latency_s": None if called.latency_s is None else round(called.latency_s, 3),
        "tokens_in": called.tokens_in,
        "tokens_out": called.tokens_out,
        "price": None if price is None else {"input": price.input, "output": price.output},
        "limits": dict(probed.limits),
        "temperature": probed.temperature,
        "logprobs": probed.logprobs,
    }
    return Checked("model" if isinstance(spec, ModelSpec) else "judge", spec.name, measured, probed.findings)


def _apart(spec: Spec, flags: Sequence[str]) -> Checked:
    """The same checkup in a process of its own, whose end frees the memory of the model."""
    command = [sys.executable, "-P", "-m", "karma_cli", "doctor", spec.name, "--json", *flags]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - KARMA's own command
    of: Of = "model" if isinstance(spec, ModelSpec) else "judge"
    for one in read_printed(done.stdout):
        if (one.of, one.name) == (of, spec.name):
            return one
    said = done.stderr.strip().splitlines()
    read = said[-1] if said else f"its process ended with exit code {done.returncode}"
    return Checked(of, spec.name, {}, (finding("does-not-load", of, spec.name, read),))


def read_printed(text: str) -> list[Checked]:
    """The models and judges in what `karma doctor --json` printed; none where it is no such text."""
    try:
        data = json.loads(text)
        findings = [
            Finding(**{name: one[name] for name in ("code", "of", "name", "read", "help")}) for one in data["findings"]
        ]
        return [_of_data(row, findings) for row in data["checked"]]
    except (ValueError, KeyError, TypeError):
        return []


def _of_data(row: dict[str, Any], findings: Sequence[Finding]) -> Checked:
    measured = {name: value for name, value in row.items() if name not in ("of", "name", "state")}
    own = tuple(one for one in findings if (one.of, one.name) == (row["of"], row["name"]))
    return Checked(row["of"], row["name"], measured, own)
