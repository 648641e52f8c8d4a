"""The parts of the live screen. Text of users and models is escaped."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from karma.telemetry.escaping import escape_control, shorten_middle, shortened
from karma_cli.output import chosen_and_rejected
from karma_cli.terminal.poller import Update
from karma_monitor.figures.formatting import duration, rate, share, sparkline
from karma_monitor.figures.money.budgets import described as described_budgets

Status = Mapping[str, Any]

#: Polls of which a rate's trend is drawn.
_TREND_POLLS = 24
_MOST_QUEUES = 6
_MOST_ENDPOINTS = 10
_MOST_JUDGES = 6
_MOST_STREAMS = 2  # and label sources
_NAME_CHARACTERS = 18  # of a judge

# Okabe and Ito's colors, which color-blind people can tell apart. Words say the same as each color.
BAD = "bold #d55e00"
DOUBTFUL = "#e69f00"
CALM = "#56b4e9"


class RateHistory:
    """The rates of the last polls, by name."""

    def __init__(self) -> None:
        self._rates: dict[str, deque[float | None]] = {}

    def add(self, update: Update) -> None:
        """Keep the rates of an update; without a fresh status they are unknown."""
        if update.status is None:
            return
        for name, value in update.status["rates"].items():
            self._rates.setdefault(name, deque(maxlen=_TREND_POLLS)).append(value if update.fresh else None)

    def drawn(self, name: str) -> str:
        """The trend of a rate as a row of bars."""
        return sparkline(self._rates.get(name, ()))


def problems(status: Status) -> Iterator[Text]:
    """The current problems, one per line."""
    for problem in status["problems"]:
        severity = str(problem["severity"])
        style = DOUBTFUL if severity == "warning" else BAD
        yield Text(f"{escape_control(severity).upper()}: {escape_control(str(problem['summary']))}", style=style)


def outcome(status: Status) -> Text:
    """Preferences, yield, cost and time left, in one line."""
    if not sum(status["states"].values()):
        return Text("No prompts yet. Next: karma enqueue FILE", style="bold")
    known = status["outcome"]
    per_min, per_prompt = known["preferences_per_min"], known["preferences_per_prompt"]
    parts = [
        f"{known['preferences']:,} preferences" + ("" if per_min is None else f", {rate(per_min)} per minute"),
        f"yield {'–' if per_prompt is None else f'{per_prompt:.2f}'} preferences per prompt",
    ]
    if known["cost"] is not None:
        each = known["cost_per_preference"]
        currency = escape_control(str(known["currency"]))
        parts.append(f"cost {known['cost']:,.2f} {currency}" + ("" if each is None else f", {each:.5f} per preference"))
    if status.get("budgets"):
        parts += [escape_control(line) for line in described_budgets(status["budgets"])]
    if known["time_left_s"]:
        parts.append(f"{duration(known['time_left_s'])} left")
    calls = known["judge_calls"]
    if calls is not None and calls["streams"]:
        parts.append(f"{calls['calls_last_hour']:,} of {calls['calls_per_hour']:,.0f} judge calls in the last hour")
    return Text(" · ".join(parts), style="bold")


def funnel(status: Status, history: RateHistory) -> Table:
    """Per stage: count, rate, trend of the rate, and losses."""
    table = _table("", "count", "per second", "trend", "lost")
    for step in status["funnel"]:
        name = f"{step['stage']}_per_s"
        losses = [f"{loss['count']:,} {shortened(str(loss['reason']), 60)}" for loss in step["losses"] if loss["count"]]
        trend = Text(history.drawn(name), style=CALM)
        per_s = rate(status["rates"].get(name))
        table.add_row(Text(escape_control(step["stage"])), f"{step['count']:,}", per_s, trend, Text(", ".join(losses)))
    return table


def quality(status: Status) -> RenderableType:
    """Pair-quality statistics of the last resolved pairs, and of each judge."""
    known = status["quality"]
    if not known["window"]:
        return Text("quality: no resolved pair yet")
    expected = known["longer_expected"]
    parts = [
        f"ties {share(known['tie_share'])}",
        f"longer response wins {share(known['longer_wins'])}"
        + ("" if expected is None else f" (expected {share(expected)})"),
        f"judged {share(known['judged_share'])}",
        *([f"calls saved {share(saved)}"] if (saved := known.get("calls_saved_share")) else []),
        f"judge agreement {share(known['agreement'])}",
    ]
    text = Text(f"last {known['window']:,} pairs: {' · '.join(parts)}")
    if (error := known["predicted_label_error"]) is not None:
        interval = _interval(error["low"], error["high"])
        text.append(f"\nwrong predicted labels: {share(error['estimate'])}{interval}, {error['audited']:,} audited")
    for one in known.get("cascades", ())[:_MOST_STREAMS]:
        text.append(f"\n{_cascade(one)}")
    for one in sorted(known["preferences"], key=lambda one: -one["preferences"])[:_MOST_STREAMS]:
        text.append(f"\n{_chosen(one)}")
    judges = known["judges"][:_MOST_JUDGES]
    columns = {name: show for name, show in _JUDGE_COLUMNS.items() if any(show(judge) for judge in judges)}
    table = _table("judge", "verdicts", "order flips", "first response wins", "agreement", *columns)
    for judge in judges:
        flips = f"{share(judge['flip_share'])} of {judge['both_orders']:,.0f}" if judge["both_orders"] else "–"
        first = share(judge["first_share"]) + _interval(judge["first_low"], judge["first_high"])
        name = shorten_middle(judge["judge"], _NAME_CHARACTERS)
        more = [show(judge) or "–" for show in columns.values()]
        table.add_row(Text(name), f"{judge['verdicts']:,}", flips, first, share(judge["agreement"]), *more)
    return Group(text, table) if table.row_count else text


def _cascade(one: Status) -> str:
    """What the first judge of a stream saves, and how often its labels are wrong."""
    saved = f"{share(one['saved_share'])} of the other judges' calls saved"
    stream = shorten_middle(one["stream"], _NAME_CHARACTERS)
    line = f"{stream}: first judge decides {share(one['alone_share'])}, {saved}"
    if (error := one["label_error"]) is None:
        return line
    wrong = f"{share(error['estimate'])}{_interval(error['low'], error['high'])}"
    return f"{line}, {wrong} of its labels wrong, {error['audited']:,} audited"


def _chosen(one: Status) -> str:
    """The chosen responses of a stream beside the rejected ones, in one line."""
    parts = [f"longer {share(one['longer_share'])}"]
    if one["length_log_ratio_mean"] is not None:
        parts.append(f"length ratio {math.exp(one['length_log_ratio_mean']):.2f}")
    names = [name for name in ("quality", "competency") if one[f"chosen_{name}"] is not None]
    parts += [f"{name} {chosen_and_rejected(one, name)}" for name in names]
    labels = "" if one["label_source"] == "judge" else " (predicted labels)"
    return f"chosen in {shortened(one['stream'], 40)}{labels}: {' · '.join(parts)}"


def _others_label(judge: Status) -> str:
    return share(judge["others_agreement"]) if judge["others_compared"] else ""


def _length_bias(judge: Status) -> str:
    found = judge["length_bias"]
    return "" if found["bias"] is None else _points(found["bias"], found["error"])


def _own_models(judge: Status) -> str:
    found = judge["self_preference"]
    if found is None:
        return ""
    return "unknown" if found["excess"] is None else _points(found["excess"], found["error"])


def _points(value: float, error: float) -> str:
    """A difference of shares with its standard error, in points."""
    return f"{100 * value:+.1f} ± {100 * error:.1f}"


def _weight(judge: Status) -> str:
    found = judge["jury"]
    return "" if found is None else f"{found['weight']:.2f}"


def _accuracy(judge: Status) -> str:
    found = judge["jury"]
    if found is None or found["accuracy"] is None:
        return ""
    return share(found["accuracy"]) + _interval(found["low"], found["high"])


#: Columns that are shown where a judge has something in them.
_JUDGE_COLUMNS = {
    "others' label": _others_label,
    "length bias": _length_bias,
    "own models": _own_models,
    "weight": _weight,
    "right": _accuracy,
}


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{100 * low:.1f} to {100 * high:.1f}]"


def canaries(status: Status) -> Table | None:
    """How often each judge is right about pairs whose answer is known, and falls for attacks; None without any."""
    table = _table("canaries", "right about clean ones", "attacks that win", "failed")
    for one in status["canaries"][:_MOST_JUDGES]:
        table.add_row(Text(shorten_middle(one["judge"], _NAME_CHARACTERS)), *canary_shares(one), f"{one['failed']:,}")
    return table if table.row_count else None


def canary_shares(one: Status) -> tuple[str, str]:
    """The share of clean canaries that a judge is right about, and of attacked ones whose attack wins."""
    right, won = (
        f"{share(one[name])}{_interval(one[f'{name}_low'], one[f'{name}_high'])} of {one[number]:,}"
        if one[number]
        else "–"
        for name, number in (("accuracy", "clean"), ("attack_success", "attacked"))
    )
    return right, won


def workers(status: Status) -> Text:
    """The ready workers of each service. A worker without a heartbeat is among the problems."""
    ready = Counter(worker["service"] for worker in status["workers"] if worker["state"] == "ready")
    named = ", ".join(f"{escape_control(service)} {count}" for service, count in sorted(ready.items()))
    redelivered = status["redelivered"]
    text = Text(f"workers: {named or 'none; start them with `karma up`'} · {status['in_flight']:,} prompts in flight")
    text.append("" if redelivered is None else f" · {redelivered:,} batches redelivered")
    return text


def queues(status: Status) -> RenderableType:
    """The queues that are not empty, the queue with the oldest batch first."""
    waiting = sorted((queue for queue in status["queues"] if queue["length"]), key=lambda queue: -queue["age_s"])
    if not waiting:
        return Text("queues: all empty" if status["queues"] else "queues: unknown")
    table = _table("queue", "batches", "oldest")
    for queue in waiting[:_MOST_QUEUES]:
        table.add_row(Text(shortened(queue["queue"], 40)), f"{queue['length']:,}", duration(queue["age_s"]))
    rest = waiting[_MOST_QUEUES:]
    if rest:
        table.add_row(f"{len(rest)} more", f"{sum(queue['length'] for queue in rest):,}", "")
    return table


def endpoints(status: Status) -> RenderableType:
    """Models and judges: first those with failures, then those with the most calls."""
    known = sorted(status["endpoints"], key=lambda endpoint: (-endpoint["failed"], -endpoint["calls"]))
    if not known:
        return Text("models and judges: no calls yet")
    table = _table("model or judge", "calls", "failed", "median", "95 %", "tokens/s", "pending")
    for endpoint in known[:_MOST_ENDPOINTS]:
        name = Text(shortened(str(endpoint["name"]), 40))
        name.append(" (judge)" if endpoint["kind"] == "judge" else "")
        if endpoint.get("dropped"):
            name.append(f" ({', '.join(sorted(endpoint['dropped']))} left out)", style="dim")
        if (limits := endpoint.get("limits")) and limits["breaker"] != "closed":
            name.append(f" (not called: {shortened(str(limits['reason']), 60)})", style=BAD)
        if limits and (jobs := limits.get("batch_jobs")):
            name.append(
                f" ({jobs['jobs']:,} batch jobs, {jobs['requests'] + jobs['gathered']:,} requests)", style="dim"
            )
        failed = Text(f"{endpoint['failed']:,}", style=BAD if endpoint["failed"] else "")
        if reasons := endpoint["failures"]:
            failed.append(f" ({shortened(max(reasons, key=reasons.get), 30)})")
        times = duration(endpoint["p50_s"]), duration(endpoint["p95_s"])
        speed = rate(endpoint["tokens_per_s"])
        table.add_row(name, f"{endpoint['calls']:,}", failed, *times, speed, f"{endpoint['open']:,}")
    if len(known) > _MOST_ENDPOINTS:
        table.add_row(f"{len(known) - _MOST_ENDPOINTS} more")
    return Group(_call_windows(known), table)


def _call_windows(known: Sequence[Mapping[str, Any]]) -> Text:
    """The windows of calls that the figures of the endpoints are of."""
    windows = []
    for kind in ("model", "judge"):
        calls = sum(endpoint["calls"] for endpoint in known if endpoint["kind"] == kind)
        age_s = max((endpoint["window_s"] or 0.0 for endpoint in known if endpoint["kind"] == kind), default=0.0)
        if calls:
            windows.append(f"last {calls:,} calls of {kind}s ({duration(age_s)})")
    return Text(", ".join(windows) or "no calls yet")


def _table(*titles: str) -> Table:
    """A table without lines; names are on the left, numbers on the right."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for title in titles:
        text = title in ("", "trend", "lost") or title == titles[0]
        table.add_column(title, justify="left" if text else "right", no_wrap=title == "trend")
    return table
