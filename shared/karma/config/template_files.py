"""Template files and criteria of judges, read and checked with the pool file.

The text of a file is a part of the judge's specification, so that its workers need no file, and its fingerprint says
when they have another text. A template is checked where jinja2 is installed, as it is wherever a judge or `karma`
runs: by its variables, and by a trial of what it makes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from karma.config.judge_templates import SUFFIX, built_in, compiled, source_of
from karma.errors import SettingsError, did_you_mean
from karma.messages import JudgeSpec, Turn

MOST_BYTES: Final = 64 << 10

_NEEDED = ("first", "second", "fence")
_KNOWN = (*_NEEDED, "messages", "brief", "criteria")

#: What a trial shows: texts that no template holds.
_FIRST, _SECOND, _FENCE = "trial-a-6f1c", "trial-b-93d2", "==trial-fence=="

#: A criterion's name: a word or a few.
_NAME = re.compile(r"\w[\w ./-]{0,59}")
_MOST_CRITERIA, _MEANING_CHARACTERS = 20, 500


def add_template(table: dict[str, Any], folder: Path, has_template: bool) -> None:
    """Put the text of a judge's template file, and its criteria by name, into its table.

    Args:
        table: of the judge, with its kind.
        folder: of the pool file.
        has_template: whether a judge of this kind is asked by one.

    Raises:
        SettingsError: names the key, its value, and what was expected.
    """
    name = table.get("template")
    is_file = isinstance(name, str) and name.endswith(SUFFIX)
    if "template_text" in table and not is_file:
        raise SettingsError(f'has the key template_text: give the text a name, such as template = "own{SUFFIX}"')
    if not has_template and (is_file or table.get("criteria")):
        key = "template" if is_file else "criteria"
        raise SettingsError(f"has the key {key}, but a judge of kind {table['kind']!r} is asked by no template")
    if is_file:
        given = table.get("template_text")
        table["template_text"] = read_template(str(name), folder) if given is None else _sized(name, given)
    if "criteria" in table:
        table["criteria"] = criteria_of(table["criteria"])


def _sized(name: Any, text: Any) -> str:
    if not isinstance(text, str) or not text.strip() or len(text.encode(errors="replace")) > MOST_BYTES:
        raise SettingsError(
            f"template_text of template {name!r} is {text!r:.60}, expected the text of a template, at most "
            f"{MOST_BYTES >> 10} KiB"
        )
    return text


def read_template(name: str, folder: Path) -> str:
    """The text of a template file; its path is relative to the pool file's folder.

    Raises:
        SettingsError: there is no such file, or it is too large, empty or not UTF-8.
    """
    path = (folder / Path(name).expanduser()).resolve()
    try:
        with path.open("rb") as file:
            read = file.read(MOST_BYTES + 1)
        text = read.decode("utf-8-sig") if len(read) <= MOST_BYTES else ""
    except OSError as cause:
        raise SettingsError(
            f"template is {name!r}: {path} cannot be read ({cause.strerror}). Expected a file in jinja's language, or "
            f"the name of a built-in template ({', '.join(built_in())})"
        ) from cause
    except UnicodeDecodeError as cause:
        raise SettingsError(f"template is {name!r}: {path} is not UTF-8 at byte {cause.start}") from cause
    if len(read) > MOST_BYTES:
        raise SettingsError(f"template is {name!r}: {path} is larger than {MOST_BYTES >> 10} KiB")
    if not text.strip():
        raise SettingsError(f"template is {name!r}: {path} is empty")
    return text


def check_template(spec: JudgeSpec) -> None:
    """Check the template of a judge by its variables and by a trial.

    Raises:
        SettingsError: says what was read and what is expected.
    """
    try:
        from jinja2 import TemplateError, meta
        from jinja2.sandbox import SandboxedEnvironment
    except ModuleNotFoundError:  # a service that makes no judge prompts
        return
    text, where = source_of(spec), f"template {spec.template!r}"
    environment = SandboxedEnvironment()
    try:
        used = meta.find_undeclared_variables(environment.parse(text)) - environment.globals.keys()
    except TemplateError as cause:
        line = getattr(cause, "lineno", None)
        raise SettingsError(f"{where} is not valid{f' in line {line}' if line else ''}: {cause}") from cause
    known = f"a template knows {', '.join(_KNOWN)}"
    if unknown := sorted(used - set(_KNOWN)):
        raise SettingsError(f"{where} asks for {unknown[0]!r}{did_you_mean(unknown[0], _KNOWN)}; {known}")
    if missing := [name for name in _NEEDED if name not in used]:
        has = ", ".join(sorted(used)) or "no variable"
        raise SettingsError(
            f"{where} uses {has} and lacks {' and '.join(missing)}. Expected both responses, each between two lines "
            "with the fence, which a response cannot know"
        )
    if spec.criteria and "criteria" not in used:
        raise SettingsError(f"{where} does not use criteria, and the judge has some; it has to show them, name by name")
    for brief in (False, True):
        try:
            shown = _trial(text, spec, brief)
        except Exception as cause:  # whatever a template's expressions raise
            form = "for a letter (brief)" if brief else "for a verdict line"
            raise SettingsError(f"{where} cannot be rendered {form}: {type(cause).__name__}: {cause}"[:400]) from cause
        _check_fenced(where, shown)


def _trial(text: str, spec: JudgeSpec, brief: bool) -> str:
    turns = (Turn("user", "What is 2 + 2?"),)
    return compiled(text).render(
        messages=turns, first=_FIRST, second=_SECOND, fence=_FENCE, brief=brief, criteria=spec.criteria
    )


def _check_fenced(where: str, shown: str) -> None:
    """Refuse a template that shows a response outside two fences of its own: it could pass for something else."""
    parts = shown.split(_FENCE)
    for name, text in (("first", _FIRST), ("second", _SECOND)):
        holding = [number for number, part in enumerate(parts) if text in part]
        if not holding:
            raise SettingsError(f"{where} does not show {name} as it is")
        other = _SECOND if text == _FIRST else _FIRST
        if holding[0] == 0 or holding[-1] == len(parts) - 1 or any(other in parts[number] for number in holding):
            raise SettingsError(
                f"{where} shows {name} outside two fences of its own. Expected {{{{ fence }}}} before and after each "
                "response, so that its text cannot pass for the question"
            )


def criteria_of(given: object) -> dict[str, str]:
    """The criteria of a judge, `criteria`: a list of names, or a table of names and sentences; as name → sentence.

    Raises:
        SettingsError: it is neither, or a name or a sentence is not fit for a prompt.
    """
    expected = 'expected names such as ["helpfulness", "honesty"], or a table of names and sentences'
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        if len(set(given)) < len(given):
            raise SettingsError(f"criteria is {given!r}: a name comes twice")
        given = dict.fromkeys(given, "")
    if not isinstance(given, dict) or not all(isinstance(meaning, str) for meaning in given.values()):
        raise SettingsError(f"criteria is {given!r}, {expected}")
    if len(given) > _MOST_CRITERIA:
        raise SettingsError(f"criteria has {len(given)} names, expected at most {_MOST_CRITERIA}")
    for name, meaning in given.items():
        if not _NAME.fullmatch(name):
            raise SettingsError(f"criteria has the name {name!r}, expected letters, digits and spaces, 1 to 60")
        if len(meaning) > _MEANING_CHARACTERS or not meaning.isprintable():
            raise SettingsError(
                f"criteria.{name} is {meaning!r:.100}, expected a sentence of at most {_MEANING_CHARACTERS} "
                "characters in one line"
            )
    return {name: meaning.strip() for name, meaning in given.items()}
