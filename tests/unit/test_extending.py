"""docs/extending.md, walked through: its five parts are one module, and are found wherever a part is named."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest

from karma import plugins
from karma.config.environment import Environment
from karma.config.pool import Pool
from karma.errors import SettingsError
from karma.messages import GenerateItem, JudgeItem, Turn
from karma.plugins import checker
from karma.plugins.registry import FAMILIES
from karma.policies.candidates import Candidate
from karma.ranking.snapshot import Snapshot
from karma.store import Store
from karma.worker import run
from karma_cli.local.worker_commands import commands
from karma_gateway import exports
from karma_gateway.planning import PlannedPrompt, plan
from karma_gateway.rematch import derivations
from karma_generation import worker as generation
from karma_judging import worker as judging
from karma_matching.pairing import form
from tests.support.memory import Flow

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"

POOL = """
[models.a]
backend = "echo"
model = "a"
[models.b]
backend = "echo"
model = "b"
[models.c]
backend = "echo"
model = "c"
[judges.j]
kind = "longer"
[judges.v]
kind = "verifier"
checker = "begins"
[stream]
goal = "label"
policy = "first-models"
checker = "begins"
"""

TEXTS = {"first": "4 it is", "second": "5", "reference": "4"}
PAIR = JudgeItem(item=1, pair=2, prompt=3, order=0, seed=4, messages=(Turn("user", "Hi"),), **TEXTS)


@pytest.fixture(params=["KARMA_PLUGINS", "entry points"])
def parts(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The page's module, registered in either way; a pool file that names its parts."""
    code = "\n\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
    (tmp_path / "my_parts.py").write_text(code)
    (tmp_path / "pool.toml").write_text(POOL)
    monkeypatch.syspath_prepend(tmp_path)
    if request.param == "KARMA_PLUGINS":
        monkeypatch.setenv("KARMA_PLUGINS", "my_parts")
    else:
        import my_parts

        points = [
            EntryPoint(name, f"my_parts:{part.__name__}", group)
            for group, named in my_parts.PLUGINS.items()
            for name, part in named.items()
        ]
        monkeypatch.setattr(plugins, "entry_points", lambda group: [one for one in points if one.group == group])
    yield tmp_path
    sys.modules.pop("my_parts", None)
    plugins.instance.cache_clear()
    plugins.planner_named.cache_clear()


def test_the_page_has_a_part_of_every_family(parts: Path) -> None:
    import my_parts

    assert my_parts.PLUGINS.keys() == {f"karma.{family}" for family in FAMILIES}


def test_a_pool_that_names_plug_ins_is_read_and_its_workers_are_started(
    parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KARMA_POOL", str(parts / "pool.toml"))
    environment = Environment.read({"KARMA_POOL": str(parts / "pool.toml")})
    pool = Pool.read(environment.pool_path)
    assert pool.judges["j"].both_orders
    assert [command.arguments for command in commands(pool)][3:] == [("generation", "a,b,c"), ("judging", "j,v")]
    generated, judged = run._served("generation", [], environment), run._served("judging", ["j"], environment)
    assert (list(generated.specs), generated.local) == (["a", "b", "c"], False)
    assert (list(judged.specs), judged.local) == (["j"], False)


def test_generation_asks_the_backend_and_judging_the_judges(parts: Path) -> None:
    pool = Pool.read(parts / "pool.toml")
    asked = GenerateItem(item=1, prompt=2, sample=0, seed=3, messages=(Turn("user", "Hi"),))
    assert [one.text for group in generation.ask(pool.models["a"], [asked]) for one in group] == ["a: Hi"]
    for judge, probability in (("j", 0.9), ("v", 1.0)):
        (verdicts,) = judging.ask(pool.judges[judge], [PAIR])
        assert [one.probability for one in verdicts] == [probability]


def test_the_gateway_plans_and_matching_pairs_by_the_policy(parts: Path) -> None:
    assert plan([PlannedPrompt(7, None)], "cba", "first-models", 2, Snapshot.empty()) == [(("a", 0), ("b", 0))]
    candidates = [Candidate(number, "abc"[number], 0, f"text {number}", None, {}) for number in range(3)]
    (pair,), _ = form(candidates, "first-models", 1, Snapshot.empty(), None, 7)
    assert (pair.a, pair.b, pair.reasons["policy"]) == (0, 1, "first-models")
    assert [derived.name for derived in derivations("mine", ["first-models"], None, False)] == ["mine@first-models"]


def test_scoring_finds_the_checker(parts: Path) -> None:
    assert checker("begins")("42 apples", "42") is True
    assert checker("begins")("no", "42") is False


def test_a_stream_runs_to_its_end_and_is_exported(parts: Path) -> None:
    store = Store("sqlite://")
    store.create()
    flow = Flow(store, Pool.read(parts / "pool.toml"))
    flow.accept({"prompt": "Say something", "id": "p"})
    flow.finish()
    (row,) = exports.rows(store, "plain")
    assert row.keys() == {"chosen", "rejected", "judges"}
    assert row["judges"] == 2


def test_a_policy_that_does_not_plan_has_models_at_random_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy of an earlier version has a name and `choose`; so has one that only matching has installed."""

    class OnlyChooses:
        name = "only-chooses"

        def choose(self, pool, count, rng):  # type: ignore[no-untyped-def]
            with pytest.deprecated_call(match=r"is now karma\.policies\.candidates"):
                from karma_matching.policies import Choice
            return [Choice(0, 1.0, f"likeness {pool.likeness(0)}")], ""

    module = SimpleNamespace(PLUGINS={"karma.policies": {"only-chooses": OnlyChooses()}})
    monkeypatch.setitem(sys.modules, "earlier_parts", module)
    monkeypatch.delitem(sys.modules, "karma_matching.policies", raising=False)
    monkeypatch.setenv("KARMA_PLUGINS", "earlier_parts")
    prompts = [PlannedPrompt(seed, None) for seed in range(50)]
    at_random = plan(prompts, "abcd", "random", 2, Snapshot.empty())
    assert plan(prompts, "abcd", "only-chooses", 2, Snapshot.empty()) == at_random
    assert plan(prompts, "abcd", "installed-elsewhere", 2, Snapshot.empty()) == at_random
    candidates = [Candidate(number, "ab"[number], 0, f"text {number}", None, {}) for number in range(2)]
    (pair,), _ = form(candidates, "only-chooses", 1, Snapshot.empty(), None, 7)
    assert pair.reasons["why"] == "likeness 1.0"


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("tests.no_such_module", "No module named 'tests.no_such_module'. .*in PYTHONPATH"),
        ("math", "has no attribute 'PLUGINS'"),
    ],
)
def test_a_module_that_holds_no_parts_is_named(module: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KARMA_PLUGINS", module)
    with pytest.raises(SettingsError, match=f"KARMA_PLUGINS names '{module}', which cannot be used: .*{said}"):
        plugins.find("judges", "jury")
