"""The report's panels on pairs: what the gate was worth, length bias, yields, first positions."""

from __future__ import annotations

import math

from karma.config.streams import derivation
from karma_monitor.figures.formatting import number, share
from karma_monitor.figures.intervals import wilson
from karma_monitor.figures.quality import LENGTH_RATIOS, PolicyTotals, Quality
from karma_monitor.report_old.html import Section
from karma_monitor.report_old.pictures import Spot, Whisker, bars, spots, whiskers

#: A first-position share this far from a half, interval and all, is worth a word.
_POSITION_CONCERN = 0.05


def gate(quality: Quality) -> Section:
    """What was spent on judges, and how wrong the labels are that no judge saw."""
    section = Section("The gate: label error against spending")
    limited = {stream: one for stream, one in sorted(quality.spending.items()) if one.limited}
    if not limited:
        section.said.append("No stream has a judge budget: every pair is judged, and no label is predicted.")
        return section
    section.said.append(
        "The error is that of the labels that no judge saw, estimated from pairs judged by chance (the audit), with "
        "its 95 % interval."
    )
    rows = []
    seen = []
    for stream, one in limited.items():
        error = one.error
        interval = ("–", "–", "–") if error is None else tuple(map(share, (error.estimate, error.low, error.high)))
        rows.append((stream, f"{one.pairs:,}", share(one.judged_share), *interval, f"{len(one.audited):,}"))
        if error is not None:
            seen.append(
                Spot(stream, 100 * one.judged_share, *(100 * x for x in (error.estimate, error.low, error.high)))
            )
    if seen:
        picture = spots(seen, "Label error against spending", "pairs judged, %", "wrong labels, %", (0, 100))
        section.pictures.append(("Audited error of the predicted labels against the share of pairs judged.", picture))
    else:
        section.said.append("No audited pair is decisive yet, so the error is unknown.")
    head = ("stream", "pairs", "judged", "label error", "95 % from", "to", "audited pairs")
    section.tables.append(("Spending and error", head, rows))
    return section


def length_bias(quality: Quality) -> Section:
    """How often the longer response wins, and how often competency alone would have it win."""
    section = Section("Length bias")
    section.said.append(
        "How often the longer of two responses wins a decisive pair, by how much longer it is, and how often "
        "competency alone would have it win."
    )
    rows, marks = [], []
    for source, buckets in quality.lengths.items():
        start = 1.0
        for end, bucket in zip(LENGTH_RATIOS, buckets, strict=True):
            name = f"{start:g}–{end:g} times" if end < math.inf else f"over {start:g} times"
            start = end
            if not bucket.pairs:
                continue
            longer, expected = bucket.longer / bucket.pairs, bucket.expected / bucket.pairs
            low, high = wilson(bucket.longer, bucket.pairs)
            beyond = f"{100 * (longer - expected):+.1f} points"
            known = map(share, (longer, low, high, expected))
            rows.append((f"{source}, {name}", f"{bucket.pairs:,}", *known, beyond))
            if source == "judge":
                note = f"{100 * expected:.0f} % by competency"
                marks.append(Whisker(name, 100 * longer, 100 * low, 100 * high, note))
    if not rows:
        section.said.append("No decisive pair yet.")
        return section
    if marks:
        picture = whiskers(marks, "Share of pairs in which the longer response wins", "longer wins, %", 50.0)
        section.pictures.append(("Labels of judges, with the 95 % interval; the line is at 50 %.", picture))
    head = ("label source and length ratio", "pairs", "longer wins", "95 % from", "to", "by competency", "beyond it")
    section.tables.append(("Length and wins", head, rows))
    return section


def policies(quality: Quality) -> Section:
    """What each policy gave in each stream."""
    section = Section(
        "Policies", ["Prompts without a pair are put down to the policy of most of their stream's pairs."]
    )
    if not quality.tallies:
        section.said = ["No pair was formed yet."]
        return section
    rows: list[tuple[str, ...]] = []
    by_prompt: list[Whisker] = []
    by_call: list[Whisker] = []
    for (stream, policy), tally in sorted(quality.tallies.items()):
        name = stream if derivation(stream) else f"{stream}: {policy}"
        figures = tally.figures()
        rows.append(_policy_row(name, tally))
        for found, key in ((by_prompt, "decisive_per_prompt"), (by_call, "decisive_per_call")):
            if (value := figures[key]) is not None:
                found.append(Whisker(name, value, note=f"{value:.3f}"))
    if by_prompt:
        section.pictures.append(("Yield by prompt.", bars(by_prompt, "Yield by prompt", "decisive pairs a prompt")))
    if by_call:
        section.pictures.append(("Yield by call.", bars(by_call, "Yield by call", "decisive pairs a judge call")))
    section.tables.append(("Yield and rates", _POLICY_HEAD, rows))
    return section


_POLICY_HEAD = (
    *("stream and policy", "prompts", "pairs", "judge calls", "decisive", "predicted", "a prompt", "a call"),
    *("bit a pair", "ties", "inconsistent", "flips", "chosen ÷ rejected length", "wrong by reference"),
)


def _policy_row(name: str, tally: PolicyTotals) -> tuple[str, ...]:
    figures = tally.figures()
    counts = (f"{figures[key]:,}" for key in ("prompts", "pairs", "judge_calls", "decisive", "predicted"))
    means = ("decisive_per_prompt", "decisive_per_call", "bits_per_pair")
    shares = (share(figures[key]) for key in ("tie_share", "inconsistent_share", "flip_share"))
    length, wrong = number(figures["length_ratio"]), share(figures["label_error"])
    return (name, *counts, *(number(figures[key]) for key in means), *shares, length, wrong)


def positions(quality: Quality) -> Section:
    """How often each judge prefers what it is shown first."""
    section = Section("Judges: first position")
    section.said.append(
        "Share of a judge's one-sided verdicts that prefer the response shown first; both orders are shown, so 50 % "
        "is fair."
    )
    rows, marks = [], []
    for judge, (first, second) in sorted(quality.positions.items()):
        if first + second == 0:
            continue
        found, (low, high) = first / (first + second), wilson(first, first + second)
        rows.append((judge, f"{first + second:,}", *map(share, (found, low, high))))
        marks.append(Whisker(judge, 100 * found, 100 * low, 100 * high))
        if low > 0.5 + _POSITION_CONCERN or high < 0.5 - _POSITION_CONCERN:
            section.said.append(f"{judge} leans to one position: {share(found)} for the first.")
    if not rows:
        section.said.append("No judge that sees both orders has taken a side yet.")
        return section
    picture = whiskers(marks, "First-position share per judge", "first shown preferred, %", 50.0)
    section.pictures.append(("With the 95 % interval; the line is at 50 %.", picture))
    section.tables.append(("First position", ("judge", "verdicts", "first", "95 % from", "to"), rows))
    return section
