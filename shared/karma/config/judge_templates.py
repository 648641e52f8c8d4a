"""The judge templates: texts of the built-in ones, what each judge is asked by, and the hash that identifies it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, NamedTuple

from karma.errors import SettingsError, did_you_mean
from karma.messages import JudgeSpec

if TYPE_CHECKING:
    from jinja2 import Template as Compiled

#: Ends the path of a template file; any other value of `template` is the name of a built-in one.
SUFFIX: Final = ".jinja"

#: The built-in template, and the one that stands for it where a judge has criteria. The text of the first never
#: changes: its hash is in the stores.
_PLAIN, _WITH_CRITERIA = "pairwise", "criteria"

_HASH_DIGITS = 12


class Template(NamedTuple):
    """What a judge is asked by."""

    name: str  # of a built-in one, or the path of a file
    text: str
    criteria: Mapping[str, str]  # name → sentence

    @property
    def title(self) -> str:
        """The name, and those of the criteria."""
        return f"{self.name} with criteria {', '.join(self.criteria)}" if self.criteria else self.name


def built_in() -> tuple[str, ...]:
    """The names of the built-in templates."""
    return tuple(sorted(_built_in()))


def check_name(spec: JudgeSpec) -> None:
    """Refuse a built-in template that does not exist, or that shows criteria where the judge has none.

    Raises:
        SettingsError: names the template and the known ones.
    """
    if spec.template not in _built_in():
        raise SettingsError(
            f"template is {spec.template!r}{did_you_mean(spec.template, _built_in())}. One of your own is the path of "
            f"a file that ends in {SUFFIX}"
        )
    if spec.template == _WITH_CRITERIA and not spec.criteria:
        raise SettingsError(f'template is {spec.template!r} and needs criteria, such as ["helpfulness", "honesty"]')


def source_of(spec: JudgeSpec) -> str:
    """The text of a judge's template.

    Raises:
        SettingsError: it names a built-in template that does not exist.
    """
    if spec.template_text:
        return spec.template_text
    name = _WITH_CRITERIA if spec.criteria and spec.template == _PLAIN else spec.template
    if name not in _built_in():
        raise SettingsError(f"no judge template is called {name!r}; known are {', '.join(built_in())}")
    return _built_in()[name]


def template_hash(spec: JudgeSpec, brief: bool = False) -> str:
    """Twelve hexadecimal digits of the text, the forms of prompt and answer, and the criteria of a judge."""
    asked = f"{source_of(spec)}\x1f{brief}"
    if spec.options.get("structured"):
        asked += "\x1fstructured"
    if spec.criteria:  # without any, the hash is what it was before there were criteria
        asked += f"\x1f{json.dumps(list(spec.criteria.items()), ensure_ascii=False)}"
    return hashlib.sha256(asked.encode()).hexdigest()[:_HASH_DIGITS]


def known_templates(judges: Iterable[JudgeSpec]) -> dict[str, Template]:
    """The templates that the judges are asked by, in either form, by hash; judges with unknown ones are left out."""
    found = {}
    for spec in judges:
        with suppress(SettingsError):
            for brief in (False, True):
                found[template_hash(spec, brief)] = Template(spec.template, source_of(spec), spec.criteria)
    return found


@lru_cache(maxsize=64)
def compiled(text: str) -> Compiled:
    """A template in a sandbox; a variable that it is not given is an error."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    # No HTML is made here: escaping would change the texts that are judged.
    return SandboxedEnvironment(undefined=StrictUndefined, autoescape=False).from_string(text)


@cache
def _built_in() -> dict[str, str]:
    folder = files("karma.config") / "templates"
    found = [file for file in folder.iterdir() if file.name.endswith(SUFFIX)]
    return {file.name.removesuffix(SUFFIX): file.read_text(encoding="utf-8") for file in found}
