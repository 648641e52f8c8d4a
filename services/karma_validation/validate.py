"""Validates a preference file or folder: every row on its own, then all of them together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from karma.errors import SettingsError, did_you_mean
from karma.extraction.template_frames import is_in_a_frame
from karma.plugins.registry import EXPORTERS
from karma_validation import shapes
from karma_validation.across import AcrossRows
from karma_validation.problems import Problems
from karma_validation.reading import Read, find_files, read
from karma_validation.shapes import Preference
from karma_validation.tokens import TokenCount
from karma_validation.turns import shown, words

#: Rows that are named for each kind of problem, by default.
EXAMPLES = 100


@dataclass
class Report:
    """What a validation found."""

    path: str
    problems: Problems
    rows: int = 0
    files: dict[str, list[str]] = field(default_factory=dict)  # file → the formats that it is read as
    splits: dict[str, int] = field(default_factory=dict)  # rows
    tokens: Sequence[TokenCount] = ()

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "path": self.path,
            "rows": self.rows,
            "files": self.files,
            "splits": self.splits,
            "errors": self.problems.count("error"),
            "warnings": self.problems.count("warning"),
            "problems": self.problems.data(),
            "tokens": [count.data() for count in self.tokens],
        }


def validate(
    path: Path,
    form: str | None = None,
    examples: int = EXAMPLES,
    tokens: Sequence[TokenCount] = (),
    seen: Callable[[Iterable[Read]], Iterable[Read]] = lambda rows: rows,
) -> Report:
    """Read every row once; memory does not grow with their number.

    Args:
        path: a JSON Lines or Parquet file, or a folder of such.
        form: the name of an exporter whose format the rows must have; None: the one whose columns they have.
        examples: the most rows that are named for each kind of problem.
        tokens: what counts tokens.
        seen: passes the rows on as they are read.

    Raises:
        SettingsError: there is no such file or format.
        KarmaError: a file cannot be read.
    """
    if form is not None and form not in EXPORTERS:
        raise SettingsError(f"no format is called {form!r}{did_you_mean(form, EXPORTERS)}")
    files = find_files(path)
    problems = Problems(examples)
    report = Report(str(path), problems, tokens=tokens)
    with AcrossRows(problems) as across:
        for file in files:
            names: list[str] = [form] if form else []
            for one in seen(read(file)):
                report.rows += 1
                report.splits[file.split] = report.splits.get(file.split, 0) + 1
                if one.value is None:
                    problems.add(one.place, "unreadable", one.wrong)
                    continue
                names = names or detect(one.value)
                preference = _check(one, names, problems)
                across.add_columns(one)
                if preference is not None:
                    across.add(file, one.place, preference)
                    for count in tokens:
                        count.add(one.place, preference, problems)
            report.files[file.name] = names
        across.finish()
    return report


def detect(row: Mapping[str, Any]) -> list[str]:
    """The formats of which a row has all columns, as far as none has more of them."""
    fitting = {name: len(kind.columns) for name, kind in EXPORTERS.items() if {*kind.columns} <= row.keys()}
    return [name for name, columns in fitting.items() if columns == max(fitting.values())]


def _check(one: Read, names: Sequence[str], problems: Problems) -> Preference | None:
    row = one.value or {}
    if not names:
        known = f"has the columns {shown(list(row))}, which are those of no known format"
        problems.add(one.place, "missing-column", known)
        return None
    kind = EXPORTERS[names[0]]
    if missing := [name for name in kind.columns if name not in row]:
        problems.add(one.place, "missing-column", f"it has no {', '.join(missing)}")
        return None
    before = problems.count("error")

    def note(found: tuple[str, str]) -> None:
        problems.add(one.place, *found)

    preference = shapes.SHAPES[kind.shape](row, note)
    if "margin" in row:
        shapes.margin(row["margin"], note)
    _check_template_columns(row, note)
    if preference is not None and kind.trims:
        _check_trimmed(preference, note)
    # A row that is wrong on its own would be counted again by what it is beside others.
    return preference if problems.count("error") == before else None


def _check_template_columns(row: Mapping[str, Any], note: Callable[[tuple[str, str]], None]) -> None:
    """Columns that TRL passes on to the chat template."""
    if "chat_template_kwargs" in row:
        arguments = row["chat_template_kwargs"]
        if arguments is None or (isinstance(arguments, Mapping) and None in arguments.values()):
            note(("template-arguments", f"chat_template_kwargs is {shown(arguments)}"))
    tools = row.get("tools")
    if isinstance(tools, list) and len(tools) > 1:
        note(("tools", f"tools is a list of {len(tools)}"))


def _check_trimmed(preference: Preference, note: Callable[[tuple[str, str]], None]) -> None:
    for answer in preference.answers:
        text = words(answer)
        if is_in_a_frame(text.strip()):
            note(("frame", f"the response is {shown(text)}"))
        elif text != text.strip():
            note(("outer-space", f"the response is {shown(text)}"))
