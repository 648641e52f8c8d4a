"""What can be added, and what each part must be: backends, judges, policies, checkers, exporters.

A part of KARMA's own is one file and one line in `karma.plugins.registry`. A part of somebody else's is registered
under the same name by an entry point of its package, or by a module that `KARMA_PLUGINS` names. `docs/extending.md`
walks through all five.

| family | entry-point group | a line of `pyproject.toml` | registered is |
| --- | --- | --- | --- |
| backends | `karma.backends` | `vllm = "my_package.vllm:VllmBackend"` | a class without arguments |
| judges | `karma.judges` | `jury = "my_package.jury:JuryJudge"` | a class without arguments |
| policies | `karma.policies` | `hardest = "my_package.hardest:Hardest"` | a class without arguments, or an instance |
| checkers | `karma.checkers` | `sql = "my_package.sql:same_result"` | a function |
| exporters | `karma.exporters` | `kto = "my_package.kto:kto"` | a function |

A module that `KARMA_PLUGINS` names holds the same as objects: `PLUGINS = {"karma.judges": {"jury": JuryJudge}}`.
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
    """Asks a model. A generation worker makes one instance and calls it from several threads."""

    def answer(self, spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
        """The answers to `items`, each a text or a failure with its reason; in groups, as they come, in any order."""
        ...


class Judge(Protocol):
    """Judges pairs. A judging worker makes one instance and calls it from several threads."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        """The verdicts on `items`; in groups, as they come, in any order.

        Each is the probability that the response shown first is better, or a failure with its reason.
        """
        ...


class Policy(Protocol):
    """Chooses which responses to a prompt are paired. Without `PlanningPolicy.plan`, models at random answer."""

    @property
    def name(self) -> str:
        """The name that is stored with its pairs."""
        ...

    def choose(self, candidates: Candidates, count: int, rng: random.Random, /) -> tuple[list[Choice], str]:
        """At most `count` of the candidates' pairs (there is at least one), and the reason where it chooses none."""
        ...


class PlanningPolicy(Policy, Protocol):
    """A policy that also plans which models answer, so that their responses can be paired.

    With a further method `explorable(group)`, a truth value for each two models [m, m], a share of the prompts compares
    the two models, among those, whose comparison reduces uncertainty most.
    """

    def plan(self, group: PromptGroup, /) -> Picks:
        """The models that answer each prompt as indices into `group.models`, shape [n, `group.number`].

        An index that occurs several times in a row stands for several samples of that model.
        """
        ...


class Checker(Protocol):
    """Says whether a response is right."""

    def __call__(self, text: str, reference: str, /) -> bool:
        """Whether `text` agrees with the reference answer of its prompt; raises where the reference cannot be read."""
        ...


class Exporter(Protocol):
    """Makes a preference a row of a data set."""

    def __call__(self, row: Any, bare: bool, /) -> dict[str, Any]:
        """The columns of one preference; without KARMA's own ones where `bare`.

        `row` is a row of `karma.store.preferences.Preferences.export_rows` with its `verdicts`, the `tie_margin` of its
        stream and the `prices`.
        """
        ...
