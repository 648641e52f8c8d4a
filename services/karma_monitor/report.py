"""TEMPORARY while merging."""

from pathlib import Path

from karma.store import Store


def write(store: Store, path: Path, stream: str | None = None) -> None:
    raise NotImplementedError


def contents(store: Store, tie_margin) -> dict:
    from karma_monitor.figures.quality import judges, length_buckets, measure, policy_figures

    q = measure(store, tie_margin)
    return {
        "quality": {
            "judges": judges(q),
            "length": length_buckets(q),
            "policies": [policy_figures(s) for s in q.policies.values()],
        }
    }
