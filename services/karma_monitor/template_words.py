"""The templates behind the verdicts on a pair, in words."""

from __future__ import annotations

from typing import Any

from karma.telemetry.escaping import escape_control, shortened

Facts = dict[str, Any]


def template_name(verdict: Facts) -> str:
    """The name of a verdict's template, and whether the pool file still has it."""
    if verdict["template"] is None:
        return "no longer that of a judge in the pool file, and its text was not kept"
    gone = ", no longer that of a judge in the pool file (karma explain --full shows its text)"
    return f"{escape_control(verdict['template'])}{'' if verdict['template_in_pool'] else gone}"


def template_texts(facts: Facts) -> list[str]:
    """The whole texts of the templates that the verdicts on a pair were asked for by, and their criteria."""
    names = {one["template_hash"]: one["template"] for one in facts["verdicts"]}
    lines = []
    for hashed, text in facts["templates"].items():
        lines += quoted(f"Template {hashed}, {escape_control(names[hashed])}:", text, 0)
        criteria = facts["criteria"].get(hashed, {})
        lines += [f"  Criterion {escape_control(name)}: {escape_control(said)}" for name, said in criteria.items()]
    return lines


def quoted(heading: str, text: str, characters: int) -> list[str]:
    """A text under its heading, shortened to so many characters (0: whole)."""
    return ["", heading, *(f"  | {line}" for line in shortened(text, characters, lines=True).split("\n"))]
