"""Metrics whose number of series is bounded, whatever users name their streams and models.

A label that holds names has a limit: those that were expected have series of their own, then the first that are seen;
all others share the name `other`. So the sum over a label is always right.
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

# A second series for every counter and histogram, of which Prometheus makes no use.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

_Labels = TypeVar("_Labels", bound=tuple[str, ...])

#: What all names beyond a label's limit are called.
OTHER = "other"

#: How many values of a label have series of their own in one process. Other labels take values from short lists.
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

#: Labels that hold what another label holds.
_ALIKE = {"winner": "model", "loser": "model", "model_a": "model", "model_b": "model"}


class _Names:
    """The values of a label that have series of their own."""

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
    """Keep series for names that are known beforehand, by label, whatever else is seen first."""
    for label, values in names.items():
        for value in values:
            _names[label].shown(value)


def shown(label: str, value: str) -> str:
    """The value of a label as it is shown: itself, or `other` where the label's limit is reached."""
    names = _names.get(_ALIKE.get(label, label))
    return value if names is None else names.shown(value)


class _Bounded(MetricWrapperBase):
    """A metric with bounded labels and its children at hand. One without labels is served once it has a value.

    A process registers every metric of KARMA, also those that another one knows: without a value of its own it must
    not say 0.
    """

    def __init__(self, name: str, documentation: str, labelnames: Iterable[str] = (), **options: Any) -> None:
        names = tuple(labelnames)
        self._at_hand: dict[tuple[object, ...], Any] = {}
        self._is_served = bool(names)
        super().__init__(name, documentation, names, **(options if names else {**options, "registry": None}))

    def labels(self, *values: object, **named: object) -> Any:
        """The child of these values, of which some may be shown as `other`."""
        found = self._at_hand.get(values) if values else None
        if found is None:
            given = values or tuple(named[label] for label in self._labelnames)
            said = tuple(shown(label, str(value)) for label, value in zip(self._labelnames, given, strict=True))
            found = super().labels(*said)
            self._at_hand[said] = found
        return found

    def clear(self) -> None:
        """Forget all children."""
        self._at_hand.clear()
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
        """Set it; one without labels is served from now on."""
        super().set(value)
        self._serve()

    def replace(self, values: Mapping[_Labels, float]) -> None:
        """Set all children to what is known now; those that are not named are served no longer.

        The names must be such as have series of their own (`shown`): what is no amount cannot be added up in `other`.
        """
        for said in [said for said in self._at_hand if said not in values]:
            del self._at_hand[said]
            self.remove(*said)
        for labels, value in values.items():
            self.labels(*labels).set(value)

    def show(self, amounts: Mapping[_Labels, float]) -> None:
        """Set all children to amounts that can be added up, by their labels; those that are not named become 0."""
        summed: dict[tuple[object, ...], float] = dict.fromkeys(self._at_hand, 0.0)
        for values, amount in amounts.items():
            said: tuple[object, ...] = tuple(
                shown(label, value) for label, value in zip(self._labelnames, values, strict=True)
            )
            summed[said] = summed.get(said, 0.0) + amount
        for said, amount in summed.items():
            self.labels(*said).set(amount)


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
        """Observe many amounts at the cost of a few: each bucket that they fall into is locked once."""
        self._sum.inc(sum(amounts))
        for place, number in Counts(bisect_left(self._upper_bounds, amount) for amount in amounts).items():
            self._buckets[place].inc(number)


class MetricBatch:
    """What is to be shown of a batch, given to its metrics in one go: their locks cost more than all else here."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[Counter, tuple[str, ...]], float] = defaultdict(float)
        self._amounts: defaultdict[tuple[Histogram, tuple[str, ...]], list[float]] = defaultdict(list)

    def add(self, counter: Counter, *labels: str, count: float = 1.0) -> None:
        """Count something; nothing is seen of it before `show`."""
        self._counts[counter, labels] += count

    def observe(self, histogram: Histogram, amounts: Iterable[float], *labels: str) -> None:
        """Observe amounts; nothing is seen of them before `show`."""
        self._amounts[histogram, labels].extend(amounts)

    def show(self) -> None:
        """Show all of it. Once."""
        for (counter, labels), count in self._counts.items():
            counter.labels(*labels).inc(count)
        for (histogram, labels), amounts in self._amounts.items():
            if amounts:
                histogram.labels(*labels).observe_all(amounts)
