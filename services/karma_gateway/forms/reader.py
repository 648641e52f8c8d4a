"""Reads prompts from items of any form, and counts the forms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from karma.errors import SettingsError
from karma.store.records import NewPrompt
from karma_gateway.forms import VALUED, form_of
from karma_gateway.forms.draft import Draft, Fields, Form
from karma_gateway.forms.own import OWN
from karma_gateway.json_values import RefusedError, found, names, parse, quoted, without_nulls
from karma_gateway.prompt_lines import FIELDS, prompt_of, refuse_misspelled
from karma_gateway.sources.items import Fault, Item, Line

#: Fields that a column can be mapped to; `responses.MODEL` maps a column to the response of a model.
TARGETS = ("prompt", "messages", "system", "id", "skill", "reference")
_RESPONSES = "responses."


def mapping_of(options: list[str]) -> dict[str, str]:
    """Field → column, of options such as `prompt=instruction`.

    Raises:
        SettingsError: an option is none, or its field is unknown.
    """
    mapping: dict[str, str] = {}
    for option in options:
        target, separator, column = option.partition("=")
        known = target in TARGETS or (target.startswith(_RESPONSES) and target != _RESPONSES)
        if not separator or not column or not known:
            raise SettingsError(
                f"--map {option}: expected FIELD=COLUMN, where the field is one of {', '.join(TARGETS)}, "
                "responses.MODEL"
            )
        if target in mapping:
            raise SettingsError(f"--map {target}: is given twice")
        mapping[target] = column
    if "prompt" in mapping and "messages" in mapping:
        raise SettingsError("--map: give `prompt` or `messages`, not both")
    return mapping


@dataclass
class PromptReader:
    """Makes prompts of items.

    Args:
        max_bytes: the largest text of a prompt with all that it has.
        priority: of the prompts.
        mapping: field → column, for columns that are named otherwise.
        dropped: columns that are left out.
        cut_last_assistant: leave out an assistant's turns at the end of a chat.
        verdicts_as: the judge whose verdicts the ratings of responses are; None: they are only kept.
    """

    max_bytes: int
    priority: int = 0
    mapping: Mapping[str, str] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()
    cut_last_assistant: bool = False
    verdicts_as: str | None = None
    prompts: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)  # (form, columns) → prompts read
    cut: int = 0  # chats that were cut

    def __post_init__(self) -> None:
        self._forms: dict[tuple[str, ...], tuple[Form, tuple[str, ...]]] = {}
        self._unseen = {*self.mapping.values(), *self.dropped}  # columns that were named, but that no row had yet

    def __call__(self, item: Item) -> NewPrompt:
        """The prompt of an item.

        Raises:
            RefusedError: it holds none that can be kept; the reason.
        """
        if isinstance(item, Fault):
            raise RefusedError(item.reason)
        try:
            if isinstance(item, Line):
                return self._read(self._parsed(item.content), typed=True)
            return self._read(item.fields, typed=False)
        except RecursionError as cause:
            raise RefusedError("nested too deeply") from cause

    def _parsed(self, content: bytes) -> Any:
        if len(content) > self.max_bytes:
            raise self._too_large()
        return parse(content)

    def _read(self, value: Any, typed: bool) -> NewPrompt:
        """`typed`: somebody may have misspelled a field, where a table has columns of its own."""
        if not isinstance(value, Mapping):
            raise RefusedError(f"expected a JSON object with `prompt` or `messages`, found {found(value)}")
        if self._unseen:
            self._unseen -= value.keys()
        row = {name: cell for name, cell in value.items() if cell is not None and name not in self.dropped}
        form, used = self._form(row)
        draft = form.draft(row)
        if typed and form is OWN:
            refuse_misspelled(draft.metadata)
        if self.cut_last_assistant:
            self._cut(draft)
        fields, metadata = without_nulls(draft.fields), without_nulls(draft.metadata)
        prompt = prompt_of(fields, metadata, self.priority, self.verdicts_as)
        texts = (prompt.messages, prompt.reference, prompt.given, prompt.metadata)
        if sum(len(text) for text in texts if text) * 4 > self.max_bytes:
            self._check_size(texts)
        self.prompts[form.name, used] += 1
        return prompt

    def _form(self, row: Fields) -> tuple[Form, tuple[str, ...]]:
        columns = tuple(row)
        known = self._forms.get(columns)
        if known is not None:
            return known
        by_value = not VALUED.isdisjoint(columns)
        is_mapped = "prompt" in self.mapping or "messages" in self.mapping
        chosen = self._mapped(row) if is_mapped else self._recognized(row)
        if len(self._forms) < 1000 and not by_value:  # rows of an untrusted file may each have columns of their own
            self._forms[columns] = chosen
        return chosen

    def _recognized(self, row: Fields) -> tuple[Form, tuple[str, ...]]:
        """The form by the columns' names, after those that are mapped have got theirs."""
        chosen = form_of(self._with_names(row) if self.mapping else row)
        if chosen is None:
            shown = f"the columns {names(list(row))}" if row else "no column with a value"
            raise RefusedError(
                f"expected exactly one of `prompt` and `messages`, or the columns of a known form; found {shown}; "
                "name the one that holds the prompt: --map prompt=COLUMN"
            )
        form, used = chosen
        if not self.mapping:
            return chosen
        return Form(form.name, form.uses, lambda fields: form.draft(self._with_names(fields))), used

    def _mapped(self, row: Fields) -> tuple[Form, tuple[str, ...]]:
        """KARMA's own form with the mapped columns; every other column is metadata."""
        used = tuple(self.mapping.values())
        if missing := [name for name in used if name not in row and name == self._prompt_column()]:
            raise RefusedError(f"has no column {quoted(missing[0])} (--map); found the columns {names(list(row))}")
        return Form("mapped", OWN.uses, self._by_mapping), used

    def _prompt_column(self) -> str:
        return self.mapping.get("prompt") or self.mapping["messages"]

    def _by_mapping(self, row: Fields) -> Draft:
        own: Fields = {}
        responses: list[dict[str, Any]] = []
        for target, column in self.mapping.items():
            if column not in row:
                continue
            value = row.pop(column)
            if target.startswith(_RESPONSES):
                responses.append({"model": target.removeprefix(_RESPONSES), "text": value})
            else:
                own[target] = value
        for name in ("id", "skill", "reference", "responses"):
            if name in row and name not in own:
                own[name] = row.pop(name)
        if responses:
            own["responses"] = responses
        draft = OWN.draft({name: value for name, value in own.items() if name in FIELDS})
        system = own.get("system")
        if isinstance(system, str) and system.strip():
            turns = draft.fields.pop("messages", None) or [
                {"role": "user", "content": draft.fields.pop("prompt", None)}
            ]
            draft.fields["messages"] = [{"role": "system", "content": system}, *turns]
        return Draft(draft.fields, row)

    def _renamed(self, column: str) -> str:
        return next((target for target, name in self.mapping.items() if name == column), column)

    def _with_names(self, row: Fields) -> Fields:
        return {self._renamed(name): value for name, value in row.items()}

    def _cut(self, draft: Draft) -> None:
        turns = draft.fields.get("messages")
        if not isinstance(turns, list):
            return
        kept = len(turns)
        while kept and isinstance(turns[kept - 1], Mapping) and turns[kept - 1].get("role") == "assistant":
            kept -= 1
        if 0 < kept < len(turns):
            draft.fields["messages"] = turns[:kept]
            self.cut += 1

    def _check_size(self, texts: tuple[str | None, ...]) -> None:
        if sum(len(text.encode()) for text in texts if text) > self.max_bytes:
            raise self._too_large()

    def _too_large(self) -> RefusedError:
        limit = f"{self.max_bytes:,} bytes (prompt_bytes in the pool file)"
        return RefusedError(f"the prompt has more than the limit of {limit}")

    def sentences(self) -> list[str]:
        """The forms that were read, with the number of their prompts; KARMA's own form is not said."""
        said = [
            f"{form} form: {count:,} prompts from {' + '.join(used)}"
            for (form, used), count in self.prompts.items()
            if form != OWN.name
        ]
        if self.prompts and self._unseen:
            said.append(f"no row has a column called {names(sorted(self._unseen))} (--map, --drop)")
        return said + ([f"{self.cut:,} chats were cut before their last assistant turn"] if self.cut else [])

    def data(self) -> list[dict[str, Any]]:
        """The same for machines."""
        return [{"form": form, "columns": list(used), "prompts": count} for (form, used), count in self.prompts.items()]
