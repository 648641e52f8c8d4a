"""Sampling of each model: settings that its endpoint refused, and samples that are identical and should differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection

from karma.config.pool import Pool
from karma_monitor.queries.sampling import dropped_settings, repeated_samples


def sampling(connection: Connection, pool: Pool | None) -> dict[str, dict[str, Any]]:
    """The figures of each model of the pool, if there is one, and of the newest responses.

    Returns:
        `dropped`: setting → number of the newest responses without it. `samples`: of the further samples of a prompt,
        how many were `compared` with the first, and were `identical`; None where there is none, and at temperature 0,
        where they are to be identical.
    """
    dropped, repeated = dropped_settings(connection), repeated_samples(connection)
    specs = pool.models if pool else {}
    greedy = {name for name, spec in specs.items() if spec.temperature == 0}
    return {
        name: {
            "dropped": dict(dropped.get(name, {})),
            "samples": None
            if name in greedy or name not in repeated
            else dict(zip(("compared", "identical"), repeated[name], strict=True)),
        }
        for name in dict.fromkeys([*specs, *dropped, *repeated])
    }


def notices(models: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A sentence for each setting that was left out, and for each model with identical samples."""
    for name, model in models.items():
        if model["dropped"]:
            yield f"{name}: {' and '.join(sorted(model['dropped']))} left out, as its endpoint refuses it"
        samples = model["samples"]
        if samples and samples["identical"]:
            yield (
                f"{name}: {samples['identical']:,} of {samples['compared']:,} further samples equal the first, "
                "although its temperature is above 0"
            )
