"""What the metrics of this process show."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from karma.telemetry import bounded_metrics as series
from karma.telemetry import cascade_metrics, judge_metrics, metrics


def all_metrics() -> Iterator[MetricWrapperBase]:
    """Every metric that `karma.telemetry.metrics` and its like list."""
    for found in (*vars(metrics).values(), *vars(cascade_metrics).values(), *vars(judge_metrics).values()):
        if isinstance(found, MetricWrapperBase):
            yield found


def full_name(metric: MetricWrapperBase) -> str:
    """The name under which Prometheus knows it."""
    return metric._name + ("_total" if metric._type == "counter" else "")


def value(name: str, /, **labels: str) -> float:
    """A series; 0 where it is not shown. Only the metric that has it is collected: there are many."""
    metric = REGISTRY._names_to_collectors.get(name)
    samples = (one for family in (metric.collect() if metric else ()) for one in family.samples)
    return next((one.value for one in samples if one.name == name and one.labels == labels), 0.0)


def count_series() -> int:
    """The series that this process serves."""
    return sum(len(family.samples) for family in REGISTRY.collect())


def forget_all() -> None:
    """As a process that has just begun, but for metrics without labels."""
    for metric in all_metrics():
        if metric._labelnames and metric is not metrics.BUILD:
            metric.clear()
    series._names.update({label: series._Names(most) for label, most in series.LIMITS.items()})
