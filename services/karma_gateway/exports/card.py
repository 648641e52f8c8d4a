"""The dataset card of a folder: which files are which split, and where the data comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from karma.telemetry.escaping import escape_control
from karma_gateway.exports.folder import State

#: The most values of a count that are listed.
_LISTED = 30


def card(folder: Path, lineage: Mapping[str, Any], licence: str | None) -> str:
    """The text of README.md for what is in the folder.

    Args:
        folder: holds a folder a configuration; the one written first is the default.
        lineage: what the store says of the data (`karma_cli.commands.export.lineage`).
        licence: as given.
    """
    found = [
        (path, state) for path in folder.iterdir() if not path.name.startswith(".") and (state := State.read(path))
    ]
    found.sort(key=lambda one: (not one[1].settings.get("default"), one[0].name))
    head = [
        "---",
        *(["license: " + json.dumps(licence)] if licence else []),
        "tags:",
        "- preference",
        "- karma",
        "configs:",
    ]
    for index, (path, state) in enumerate(found):
        head.append(f"- config_name: {path.name}")
        head.extend(["  default: true"] if index == 0 else [])
        head.append("  data_files:")
        for split in filter(state.tally.rows.get, state.settings["splits"]):
            head.extend((f"  - split: {split}", f"    path: {path.name}/{split}-*{state.settings['ending']}"))
    body = [*_origin(lineage, licence), *(line for path, state in found for line in _configuration(path.name, state))]
    return "\n".join([*head, "---", "", "# Preferences", "", *body, ""])


def _origin(lineage: Mapping[str, Any], licence: str | None) -> Iterator[str]:
    yield f"Made by KARMA {version('karma')}: models of a pool answer prompts, judges compare the answers."
    yield ""
    yield "## Where it comes from"
    yield ""
    for stream, goal in lineage["goals"].items():
        yield f"- Stream {_code(stream)}, goal `{goal}`."
    for name, model in lineage["models"].items():
        yield f"- Model {_code(name)}: {_code(model['model'])}, by {_code(model['backend'])}."
    for name, judge in lineage["judges"].items():
        asked = f" asking {_code(judge['model'])}" if judge["model"] else ""
        yield f"- Judge {_code(name)}: kind {_code(judge['kind'])}{asked}."
    if not lineage["models"]:
        yield "- No pool file was at hand: models and judges are those that the rows name."
    given = f"{_code(licence)}, as given with the export" if licence else "none was given with the export"
    yield f"- Licence: {given}. The terms of the models' makers and of the prompts hold besides."
    yield ""
    yield "## How far the labels can be trusted"
    yield ""
    yield from _trust(lineage)
    yield ""


def _trust(lineage: Mapping[str, Any]) -> Iterator[str]:
    error, referenced = lineage["label_error"], lineage["referenced"]
    if referenced:
        yield f"- Labels against references: {error:.1%} wrong, of {referenced} decisive pairs with a reference."
    else:
        yield "- Labels against references: unknown, as no decisive pair had a checked reference."
    if predicted := lineage["predicted_label_error"]:
        yield (
            f"- Predicted labels: {predicted['estimate']:.1%} contradict the judges, by an audit "
            f"(95 %: {predicted['low']:.1%} to {predicted['high']:.1%}), in the stream where it is highest."
        )
    yield f"- Judges that take another side when the order is reversed: {_share(lineage['flip_share'])} of pairs."
    for one in lineage["first_position"]:
        yield (
            f"- {_code(one['judge'])} prefers the response shown first in {one['share']:.1%} of {one['n']} "
            f"(95 %: {one['low']:.1%} to {one['high']:.1%})."
        )
    yield (
        f"- The longer response wins {_share(lineage['longer_wins'])} of decisive pairs; competencies alone expect "
        f"{_share(lineage['longer_expected'])}."
    )
    yield f"- Judges agree with each other: {_share(lineage['agreement'])}."


def _configuration(name: str, state: State) -> Iterator[str]:
    tally, settings = state.tally, state.settings
    yield f"## {name}"
    yield ""
    yield f"{tally.preferences} preferences; the filter: {_code(json.dumps(settings['filter'], sort_keys=True))}."
    yield ""
    yield "| split | rows | share of prompts |"
    yield "| --- | --- | --- |"
    for split, share in settings["splits"].items():
        yield f"| {split} | {tally.rows[split]} | {share:g} |"
    yield ""
    yield "A prompt is always in the same split: its users' words are hashed, whatever their case and white space."
    yield ""
    for what, counter in tally.counts.items():
        listed = ", ".join(f"{_code(value)} {count}" for value, count in counter.most_common(_LISTED))
        more = f" and {len(counter) - _LISTED} more" if len(counter) > _LISTED else ""
        yield f"- {what.replace('_', ' ')}: {listed}{more}."
    yield f"- Mean probability that the chosen response is better: {tally.probability / max(1, tally.preferences):.3f}."
    unequal = tally.preferences - tally.equally_long
    yield f"- The chosen response is the longer one in {_share(tally.longer / unequal if unequal else None)}."
    for what, count in state.unrepresentable.items():
        yield f"- Left out, as the format has no place for {what}: {count}."
    yield ""


def _code(text: str) -> str:
    """A name as code; it is untrusted, and cannot end the code or the line."""
    return "`" + escape_control(str(text)).replace("`", "'").replace("|", "¦") + "`"


def _share(value: float | None) -> str:
    return "an unknown share" if value is None else f"{value:.1%}"
