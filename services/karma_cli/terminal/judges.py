"""What is known of judges, as tables of `karma status`: first judges, weights, canaries, and agreement with people."""

from __future__ import annotations

from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from karma.telemetry.escaping import escape_control
from karma_cli.terminal.panels import canary_shares
from karma_monitor.figures.formatting import share


def judge_tables(state: dict[str, Any]) -> list[RenderableType]:
    """The tables of a status; none with one judge, without a first judge, canaries and verdicts of people."""
    parts: list[RenderableType] = []
    if state["cascades"]:
        saved = "calls of the others saved"
        wrong = "wrong labels by it alone"
        table = Table("stream", "pairs", "decided alone", saved, wrong, "audited", title_justify="left")
        table.title = "first judges"
        for each in state["cascades"]:
            error = each["label_error"]
            interval = "unknown" if error is None else _interval(error["estimate"], error["low"], error["high"])
            table.add_row(
                *(Text(escape_control(each["stream"])), f"{each['pairs']:,}", share(each["alone_share"])),
                *(share(each["saved_share"]), interval, f"{0 if error is None else error['audited']:,}"),
            )
        parts.append(table)
    if state["jury"]:
        table = Table("judge", "weight", "right", "pairs", title="judges weighed", title_justify="left")
        for name, one in state["jury"].items():
            right = _interval(one["accuracy"], one["low"], one["high"]) + (" (assumed)" if one["is_anchor"] else "")
            table.add_row(Text(escape_control(name)), f"{one['weight']:.2f}", right, f"{one['pairs']:,}")
        parts.append(table)
    if state["canaries"]:
        head = "judge", "right about clean ones", "attacks that win", "without a verdict"
        table = Table(*head, title="canaries: pairs whose answer is known", title_justify="left")
        for one in state["canaries"]:
            table.add_row(Text(escape_control(one["judge"])), *canary_shares(one), f"{one['failed']:,}")
        parts.append(table)
    if (people := state["people"]) is not None:
        tied = f", {people['undecided']:,} of them without a preference" if people["undecided"] else ""
        title = f"judges against people, {people['pairs']:,} pair{'s' if people['pairs'] != 1 else ''}{tied}"
        more = f"more labels for ±{50 * people['width']:.0f} points"
        table = Table("judge", "skill", "agrees", "pairs", more, title=title, title_justify="left")
        for name, one in people["judges"].items():
            shown = Text(escape_control(name))
            agrees = _interval(one["share"], one["low"], one["high"])
            table.add_row(shown, "", agrees, f"{one['pairs']:,}", f"{one['labels_needed']:,}")
            for skill, each in one["skills"].items():
                agrees = _interval(each["share"], each["low"], each["high"])
                table.add_row("", Text(escape_control(skill)), agrees, f"{each['pairs']:,}", "")
        parts.append(table)
    return parts


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return share(value)
    return f"{share(value)} [{100 * low:.1f} to {100 * high:.1f}]"
