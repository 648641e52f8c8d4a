"""Figures of cascades: calls of larger judges that were saved, and the audited error of the first judge's labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from karma.ranking.snapshot import Snapshot
from karma.store.cascade_quality import CascadeQuality
from karma_monitor.figures.intervals import ratio


def cascade_figures(cascades: Mapping[str, CascadeQuality], snapshot: Snapshot) -> list[dict[str, Any]]:
    """The figures of each stream with a first judge; the label error is of the newest refit, whatever is measured.

    `label_error` is the share of labels by the first judge alone that contradict the larger judges, of those on which
    these take a side; None before an audit.
    """
    return [
        {
            "stream": stream,
            **asdict(sums),
            "alone_share": ratio(sums.alone, sums.pairs),
            "saved_share": ratio(sums.larger_calls_saved, sums.larger_calls + sums.larger_calls_saved),
            "label_error": asdict(snapshot.cascade_audits[stream]) if stream in snapshot.cascade_audits else None,
        }
        for stream, sums in sorted(cascades.items())
    ]
