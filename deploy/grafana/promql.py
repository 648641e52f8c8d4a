"""Expressions that many panels are made of."""

from __future__ import annotations


def per_s(metric: str, selector: str = "", by: str = "") -> str:
    """A counter's increase a second, in all or by labels (`"stream, end"`)."""
    return f"sum{_by(by)}(rate({metric}{_braces(selector)}[$__rate_interval]))"


def hour(metric: str, selector: str = "", by: str = "") -> str:
    """A counter's increase over an hour."""
    return f"sum{_by(by)}(increase({metric}{_braces(selector)}[1h]))"


def ratio(part: str, whole: str) -> str:
    """A part of a whole; both of the same labels."""
    return f"{part} / {whole}"


def share(metric: str, selector: str, part: str, by: str) -> str:
    """The share of a counter's increase that has one more label's value, such as `flipped="yes"`."""
    return ratio(per_s(metric, f"{selector}, {part}", by), per_s(metric, selector, by))


def quantile(share: float, metric: str, selector: str = "", by: str = "") -> str:
    """A quantile of a histogram."""
    return f"histogram_quantile({share:g}, {per_s(f'{metric}_bucket', selector, f'le, {by}' if by else 'le')})"


def mean(metric: str, selector: str, by: str) -> str:
    """The mean of what a histogram observed."""
    return ratio(per_s(f"{metric}_sum", selector, by), per_s(f"{metric}_count", selector, by))


def renamed(expression: str, label: str, old: str) -> str:
    """An expression whose label `old` is called otherwise, so that it can be held against others."""
    return f'label_replace({expression}, "{label}", "$1", "{old}", "(.+)")'


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""


def _braces(selector: str) -> str:
    return f"{{{selector}}}" if selector else ""
