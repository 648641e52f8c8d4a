"""The built-in backends, judges, policies, checkers and exporters, one line each; `docs/extending.md` has examples.

A line has the import path of the class or function, so that nothing is loaded before it is used, and the properties
that the validation of the pool file, the supervisor and other services need without loading it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Family = Literal["backends", "judges", "policies", "checkers", "exporters"]


@dataclass(frozen=True)
class BuiltIn:
    """A built-in part of any family."""

    path: str = ""  # `module:name`; empty for a plug-in, which has the default properties


@dataclass(frozen=True)
class BackendKind(BuiltIn):
    """Properties of a backend."""

    local: bool = False  # the model runs in the worker's own process
    needs_base_url: bool = False
    has_batch_jobs: bool = False  # its endpoint takes files of requests


@dataclass(frozen=True)
class JudgeKind(BuiltIn):
    """Properties of a kind of judge."""

    sees_order: bool = True  # the verdict can depend on which response is shown first
    local: bool = False  # its model runs in the worker's own process
    needs_model: bool = False
    reads_responses: bool = True  # False: it uses only the models' competencies
    checks_reference: bool = False  # its verdicts are about correctness, not preference
    free: bool = False  # it asks no model, so that sparing it saves nothing
    has_template: bool = True  # its model is asked by a template
    classifies: bool = False  # its model is a sequence classifier, no model that generates
    asked: bool = True  # False: people, whose verdicts are brought to KARMA


@dataclass(frozen=True)
class PolicyKind(BuiltIn):
    """Properties of a policy."""

    samples_one_model: bool = False  # one model is enough: it generates several samples
    pairs_equals: bool = False  # pairs models of which neither is known to be better


@dataclass(frozen=True)
class ExporterKind(BuiltIn):
    """Properties of an exporter."""

    columns: tuple[str, ...] = ()  # by which its files are known
    shape: str = ""  # how they hold a preference (`karma_validation.shapes`)
    trims: bool = False  # its trainer looks for an answer in a rendered chat


BACKENDS: Final[Mapping[str, BackendKind]] = {
    "openai": BackendKind("karma_generation.backends.openai:OpenAIBackend", needs_base_url=True, has_batch_jobs=True),
    "transformers": BackendKind("karma_generation.backends.transformers:TransformersBackend", local=True),
}

_JUDGES = "karma_judging.judges"
JUDGES: Final[Mapping[str, JudgeKind]] = {
    "given": JudgeKind(f"{_JUDGES}.given:GivenJudge", sees_order=False, has_template=False, free=True),
    "human": JudgeKind(f"{_JUDGES}.human:HumanJudge", sees_order=False, has_template=False, free=True, asked=False),
    "likelihood": JudgeKind(
        f"{_JUDGES}.likelihood:LikelihoodJudge", sees_order=False, local=True, needs_model=True, has_template=False
    ),
    "openai": JudgeKind(f"{_JUDGES}.openai:OpenAIJudge", needs_model=True),
    "prior": JudgeKind(
        f"{_JUDGES}.prior:PriorJudge", sees_order=False, has_template=False, reads_responses=False, free=True
    ),
    "reward": JudgeKind(
        f"{_JUDGES}.reward:RewardJudge",
        sees_order=False,
        local=True,
        needs_model=True,
        has_template=False,
        classifies=True,
    ),
    "transformers": JudgeKind(f"{_JUDGES}.transformers:TransformersJudge", local=True, needs_model=True),
    "verifier": JudgeKind(
        f"{_JUDGES}.verifier:VerifierJudge", sees_order=False, has_template=False, checks_reference=True, free=True
    ),
}

POLICIES: Final[Mapping[str, PolicyKind]] = {
    "informative": PolicyKind("karma.policies.informative:Informative"),
    "kin": PolicyKind("karma.policies.kin:Kin", pairs_equals=True),
    "random": PolicyKind("karma.policies.random_pairs:RandomPairs"),
    "best-vs-worst": PolicyKind("karma.policies.best_vs_worst:BestVersusWorst"),
    "wide-gap": PolicyKind("karma.policies.wide_gap:WideGap"),
    "best-vs-random": PolicyKind("karma.policies.best_vs_random:BestVersusRandom"),
    "all-pairs": PolicyKind("karma.policies.random_pairs:AllPairs"),
    "self": PolicyKind("karma.policies.self_play:SelfPlay", samples_one_model=True),
}

CHECKERS: Final[Mapping[str, BuiltIn]] = {
    "answer": BuiltIn("karma.checkers.answer:answer"),
    "contains": BuiltIn("karma.checkers.contains:contains"),
    "exact": BuiltIn("karma.checkers.exact:exact"),
    "math": BuiltIn("karma.checkers.math:math"),
    "number": BuiltIn("karma.checkers.number:number"),
}

_EXPORTERS = "karma_gateway.exporters"
_EXPLICIT = ("prompt", "chosen", "rejected")
EXPORTERS: Final[Mapping[str, ExporterKind]] = {
    "axolotl": ExporterKind(f"{_EXPORTERS}.axolotl:axolotl", ("messages", "chosen", "rejected"), "turns", trims=True),
    "distilabel": ExporterKind(
        f"{_EXPORTERS}.distilabel:distilabel", ("instruction", "generations", "ratings"), "rated"
    ),
    "jsonl": ExporterKind(f"{_EXPORTERS}.jsonl:jsonl", ("id", "messages", "chosen", "rejected"), "flat"),
    "kto": ExporterKind(f"{_EXPORTERS}.kto:kto", ("prompt", "completion", "label"), "unpaired"),
    "llama-factory": ExporterKind(
        f"{_EXPORTERS}.llama_factory:llama_factory", ("conversations", "chosen", "rejected"), "sharegpt"
    ),
    "nemo-rl": ExporterKind(f"{_EXPORTERS}.nemo_rl:nemo_rl", ("context", "completions"), "ranked"),
    "openrlhf": ExporterKind(f"{_EXPORTERS}.openrlhf:openrlhf", (*_EXPLICIT, "margin"), "explicit"),
    "reward": ExporterKind(f"{_EXPORTERS}.reward:reward", (*_EXPLICIT, "margin"), "explicit"),
    "trl-dpo": ExporterKind(f"{_EXPORTERS}.trl_dpo:trl_dpo", _EXPLICIT, "explicit"),
    "trl-dpo-implicit": ExporterKind(
        f"{_EXPORTERS}.trl_dpo_implicit:trl_dpo_implicit", ("chosen", "rejected"), "implicit"
    ),
    "ultrafeedback-binarized": ExporterKind(
        f"{_EXPORTERS}.ultrafeedback_binarized:ultrafeedback_binarized",
        ("chosen", "rejected", "messages", "score_chosen", "score_rejected"),
        "implicit",
    ),
}

FAMILIES: Final[Mapping[Family, Mapping[str, BuiltIn]]] = {
    "backends": BACKENDS,
    "judges": JUDGES,
    "policies": POLICIES,
    "checkers": CHECKERS,
    "exporters": EXPORTERS,
}


def backend_kind(name: str) -> BackendKind:
    """The properties of a backend; a plug-in has the defaults."""
    return BACKENDS.get(name, BackendKind())


def judge_kind(name: str) -> JudgeKind:
    """The properties of a kind of judge; a plug-in has the defaults."""
    return JUDGES.get(name, JudgeKind())


def policy_kind(name: str) -> PolicyKind:
    """The properties of a policy; a plug-in has the defaults."""
    return POLICIES.get(name, PolicyKind())
