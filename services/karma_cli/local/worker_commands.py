"""Which processes `karma up` runs."""

from __future__ import annotations

from dataclasses import dataclass

from karma.config.pool import Pool
from karma.plugins.registry import judge_kind


@dataclass(frozen=True)
class Command:
    """A worker process to run: the arguments of `karma.run`, and the name of its log."""

    name: str
    arguments: tuple[str, ...]
    required: bool = True  # whether the pipeline needs it


#: Migrates the store, and ends: its packages would stay in the memory of this process.
MIGRATION = Command("migration", ("migration",))

#: The page; the pipeline runs without it.
PAGE = Command("page", ("page",), required=False)


def commands(pool: Pool) -> list[Command]:
    """The workers of a pool: one per service, but one per group of models, and one per judge with a local model."""
    needed = [Command(service, (service,)) for service in ("gateway", "scoring", "matching")]
    groups: dict[str, list[str]] = {}
    for model in pool.models:
        groups.setdefault(pool.groups[model], []).append(model)
    for group, models in groups.items():
        needed.append(Command(f"generation-{group}", ("generation", ",".join(models))))
    remote = [name for name, judge in pool.judges.items() if not judge_kind(judge.kind).local]
    needed += [Command(f"judging-{name}", ("judging", name)) for name in pool.judges if name not in remote]
    if remote:
        needed.append(Command("judging", ("judging", ",".join(remote))))
    return needed
