"""Metrics with a bounded number of series, for any number of streams and models.

A label with names has a limit. Expected names have series of their own, then the first other names; all further names
share the value `other`. So the sum over a label is exact.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import prometheus_client
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

# Prometheus makes no use of the second series, `_created`, of every counter and histogram.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

_Labels = TypeVar("_Labels", bound=tuple[str, ...])

#: The label value of all names beyond a label's limit.
OTHER = "other"

#: Most values of a label with series of their own in one process. Other labels have values from short lists.
LIMITS = {
    "stream": 50,
    "model": 100,
    "judge": 50,
    "name": 150,  # a model or a judge
    "skill": 50,
    "policy": 20,
    "reason": 50,
    "target": 150,
    "queue": 150,
    "gen_ai_request_model": 150,
}

#: Labels whose values are those of another label.
_VALUES_OF = {"winner": "model", "loser": "model", "model_a": "model", "model_b": "model"}


class _Names:
    """The values of a label with series of their own."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()
        self._one_at_a_time = threading.Lock()

    def shown(self, value: str) -> str:
        if value in self._known:
            return value
        with self._one_at_a_time:
            if value not in self._known and len(self._known) >= self._most:
                return OTHER
            self._known.add(value)
            return value


_names = {label: _Names(most) for label, most in LIMITS.items()}


def expect(**names: Iterable[str]) -> None:
    """Reserve series for names, by label, before other names occur."""
    for label, values in names.items():
        for value in values:
            _names[label].shown(value)


def shown(label: str, value: str) -> str:
    """The value of a label in a series: itself, or `other` beyond the label's limit."""
    names = _names.get(_VALUES_OF.get(label, label))
    return value if names is None else names.shown(value)


class _Bounded(MetricWrapperBase):
    """A metric with bounded labels and cached children. A gauge without labels is served once it has a value.

    Every process registers every metric of KARMA, including those that only another process sets: it must not serve 0
    for these.
    """

    def __init__(self, name: str, documentation: str, labelnames: Iterable[str] = (), **options: Any) -> None:
        names = tuple(labelnames)
        self._children: dict[tuple[object, ...], Any] = {}
        self._is_served = bool(names)
        super().__init__(name, documentation, names, **(options if names else {**options, "registry": None}))

    def labels(self, *values: object, **named: object) -> Any:
        """The child with these values, some of which may become `other`."""
        child = self._children.get(values) if values else None
        if child is None:
            given = values or tuple(named[label] for label in self._labelnames)
            bounded = tuple(shown(label, str(value)) for label, value in zip(self._labelnames, given, strict=True))
            child = super().labels(*bounded)
            self._children[bounded] = child
        return child

    def clear(self) -> None:
        """Remove all children."""
        self._children.clear()
        super().clear()

    def _serve(self) -> None:
        if not self._is_served:
            self._is_served = True
            REGISTRY.register(self)


class Counter(_Bounded, prometheus_client.Counter):
    """A counter with bounded labels."""


class Gauge(_Bounded, prometheus_client.Gauge):
    """A gauge with bounded labels."""

    def set(self, value: float) -> None:
        """Set the value; a gauge without labels is served from now on."""
        super().set(value)
        self._serve()

    def replace(self, values: Mapping[_Labels, float]) -> None:
        """Set the children in `values` and remove all others.

        Their names must have series of their own (`shown`), because values that are no amounts cannot be summed up in
        `other`.
        """
        for obsolete in [labels for labels in self._children if labels not in values]:
            del self._children[obsolete]
            self.remove(*obsolete)
        for labels, value in values.items():
            self.labels(*labels).set(value)

    def show(self, amounts: Mapping[_Labels, float]) -> None:
        """Set the children to amounts, which are summed up in `other`; all other children become 0."""
        summed: dict[tuple[object, ...], float] = dict.fromkeys(self._children, 0.0)
        for values, amount in amounts.items():
            bounded = tuple(shown(label, value) for label, value in zip(self._labelnames, values, strict=True))
            summed[bounded] = summed.get(bounded, 0.0) + amount
        for labels, amount in summed.items():
            self.labels(*labels).set(amount)


class Histogram(_Bounded, prometheus_client.Histogram):
    """A histogram with bounded labels."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Observe one amount."""
        if exemplar or (self._labelnames and not self._labelvalues):
            super().observe(amount, exemplar)
            return
        self._sum.inc(amount)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(1)

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe many amounts at the cost of a few: each bucket is locked once."""
        self._sum.inc(sum(amounts))
        for bucket, number in Counts(bisect_left(self._upper_bounds, amount) for amount in amounts).items():
            self._buckets[bucket].inc(number)


class MetricBatch:
    """Collects the counts of a batch and applies them together, because the locks of metrics are their main cost."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[Counter, tuple[str, ...]], float] = defaultdict(float)
        self._amounts: defaultdict[tuple[Histogram, tuple[str, ...]], list[float]] = defaultdict(list)

    def add(self, counter: Counter, *labels: str, count: float = 1.0) -> None:
        """Add to a counter at `show`."""
        self._counts[counter, labels] += count

    def observe(self, histogram: Histogram, amounts: Iterable[float], *labels: str) -> None:
        """Observe amounts at `show`."""
        self._amounts[histogram, labels].extend(amounts)

    def show(self) -> None:
        """Apply everything that was added; to be called once."""
        for (counter, labels), count in self._counts.items():
            counter.labels(*labels).inc(count)
        for (histogram, labels), amounts in self._amounts.items():
            if amounts:
                histogram.labels(*labels).observe_all(amounts)
