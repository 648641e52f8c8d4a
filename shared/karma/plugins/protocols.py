"""The interfaces of all extension points: backends, judges, policies, checkers and exporters.

A built-in part is one file and one line in `karma.plugins.registry`. A plug-in is registered by an entry point of its
package, or by a module that `KARMA_PLUGINS` names. `docs/extending.md` has an example of each.

| family | entry-point group | a line of `pyproject.toml` | registered is |
| --- | --- | --- | --- |
| backends | `karma.backends` | `vllm = "my_package.vllm:VllmBackend"` | a class without arguments |
| judges | `karma.judges` | `jury = "my_package.jury:JuryJudge"` | a class without arguments |
| policies | `karma.policies` | `hardest = "my_package.hardest:Hardest"` | a class without arguments, or an instance |
| checkers | `karma.checkers` | `sql = "my_package.sql:same_result"` | a function |
| exporters | `karma.exporters` | `kto = "my_package.kto:kto"` | a function |

A module that `KARMA_PLUGINS` names has the same as objects: `PLUGINS = {"karma.judges": {"jury": JuryJudge}}`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from karma.messages import Answer, GenerateItem, JudgeItem, JudgeSpec, ModelSpec, Verdict
    from karma.policies.candidates import Candidates, Choice
    from karma.policies.prompt_group import Picks, PromptGroup


class Backend(Protocol):
    """Calls a model. A generation worker makes one instance and calls it from several threads."""

    def answer(self, spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
        """The answers to `items`, each a text or a failure with its reason; in groups, in any order, as they arrive."""
        ...


class Judge(Protocol):
    """Judges pairs. A judging worker makes one instance and calls it from several threads."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        """The verdicts on `items`; in groups, in any order, as they arrive.

        Each is the probability that the response shown first is better, or a failure with its reason.
        """
        ...


class Policy(Protocol):
    """Chooses which responses to a prompt are paired. Without `PlanningPolicy.plan`, random models answer."""

    @property
    def name(self) -> str:
        """The name that is stored with its pairs."""
        ...

    def choose(self, candidates: Candidates, count: int, rng: random.Random, /) -> tuple[list[Choice], str]:
        """At most `count` of the candidates' pairs (there is at least one), and the reason if it chooses none."""
        ...


class PlanningPolicy(Policy, Protocol):
    """A policy that also plans which models answer, so that their responses can be paired.

    An optional method `explorable(group)` returns which two models may be compared, as booleans [m, m]. Then a share of
    the prompts compares the two of these models whose comparison reduces uncertainty most.
    """

    def plan(self, group: PromptGroup, /) -> Picks:
        """The models that answer each prompt as indices into `group.models`, shape [n, `group.number`].

        An index that occurs several times in a row means several samples of that model.
        """
        ...


class Checker(Protocol):
    """Decides whether a response is right."""

    def __call__(self, text: str, reference: str, /) -> bool | None:
        """Whether `text` agrees with the reference of its prompt.

        A text without an answer is wrong. None if there is an answer that cannot be read for certain: the response gets
        no quality, and no pair with it is decided. A checker that knows only right and wrong returns booleans.

        Raises:
            UnreadableReferenceError: the reference cannot be read; the prompt ends as `dead` with this reason.
                After any other error this response has no quality.
        """
        ...


class Exporter(Protocol):
    """Converts a preference to a row of a data set, or to several.

    An optional attribute `columns` declares the types of the columns, name → type: `"string"`, `"int64"`, `"float64"`,
    `"bool"`, a list of one type, or a dictionary of names and types. A name that ends with `?` is in a file only if
    some row has it. KARMA's own column, `karma`, is left out if `bare`. A row that does not fit is an error.
    An optional attribute `mixed` says that no two answers to a prompt may be neighbors in a file; `note` is a sentence
    that is printed with the export.
    """

    def __call__(self, row: Any, bare: bool, /) -> dict[str, Any] | list[dict[str, Any]]:
        """The columns of one preference, or of each of its rows; without KARMA's own columns if `bare`.

        Raises:
            karma.errors.UnrepresentableError: the format has no place for something of the preference; it is
                left out and counted.

        `row` is a row of `karma.store.preferences.Preferences.export_rows` with its `verdicts`, the `tie_margin` of its
        stream and the `prices`.
        """
        ...
