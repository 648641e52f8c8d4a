"""Judges that are kin to a model that they judge, as far as the pool file tells.

A judge favors responses of its own model, of a model that its model was made from or became, and of one of the same
family; labels then teach its taste as quality (preference leakage: Li et al. 2025, arXiv 2502.01534).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from karma.config.pool import Pool
from karma.messages import ModelSpec

Relation = Literal["same", "lineage", "family"]

#: Names that servers give to any model: equal ones say nothing, but for one endpoint.
_ANY_MODEL = frozenset({"default", "llm", "local", "local-model", "model", "none", "test"})

#: Family → the names of its models. A distilled or merged model may be of several.
_FAMILIES: Mapping[str, re.Pattern[str]] = {
    family: re.compile(rf"(?<![a-z])({names})")
    for family, names in {
        "Claude": r"claude",
        "Command": r"(c4ai-)?command-(a|r|light|nightly)|aya-",
        "DeepSeek": r"deepseek",
        "ERNIE": r"ernie-",
        "EXAONE": r"exaone",
        "Falcon": r"falcon",
        "Gemini and Gemma": r"gemini|(code|pali|med|shield)?gemma",
        "GLM": r"(chat)?glm",
        "GPT": r"(chat)?gpt-?[345]|chatgpt|gpt-oss|^o[134](?=-|$)",
        "Granite": r"granite",
        "Grok": r"grok",
        "Hunyuan": r"hunyuan",
        "InternLM": r"internlm",
        "Kimi": r"kimi|moonshot",
        "Llama": r"(meta-|code)?llama|vicuna",
        "MiniMax": r"minimax",
        "Mistral": r"(open-)?mi[sx]tral|ministral|magistral|codestral|devstral|pixtral|zephyr",
        "Nemotron": r"nemotron",
        "OLMo": r"olmo",
        "Phi": r"phi-?\d",
        "Qwen": r"(code)?qwen|qwq|qvq",
        "SmolLM": r"smollm",
        "Yi": r"yi-",
    }.items()
}


@dataclass(frozen=True)
class KinJudge:
    """A judge and a model whose responses it judges in a stream, and what they have in common."""

    judge: str
    model: str
    relation: Relation
    why: str


def kin_judges(pool: Pool, stream: str | None = None) -> list[KinJudge]:
    """The kin of each judge among the models that it judges, in the order of the pool file.

    A judge without a model has none. The `group` of a model says which process it runs in, and nothing of kinship.

    Args:
        pool: its streams say which judge judges which models.
        stream: only in this stream; None: in any.
    """
    names = ["", *pool.streams] if stream is None else [stream]  # "": any stream without a table of its own
    judged = {
        (judge.name, model)
        for name in names
        for judge in pool.stream_judges(name)
        for model in pool.stream_models(name)
    }
    found = []
    for name, judge in pool.judges.items():
        if judge.model is None:
            continue
        own = own_models_of(pool, judge.model)
        for model in pool.models:
            if (name, model) in judged and (why := _relation(pool, judge.model, own, model)):
                found.append(KinJudge(name, model, *why))
    return found


def notices(kin: Iterable[KinJudge]) -> list[str]:
    """A sentence for each judge, with what to do."""
    by_judge: dict[str, list[KinJudge]] = {}
    for each in kin:
        by_judge.setdefault(each.judge, []).append(each)
    return [
        f"The judge {judge} may favor its kin, which it judges: {_listed(models)}. Name a judge of another family, or "
        + ("watch its self-preference." if any(each.relation == "same" for each in models) else "add one beside it.")
        for judge, models in by_judge.items()
    ]


#: Models that a sentence names.
_NAMED = 4


def _listed(models: Sequence[KinJudge]) -> str:
    named = [f"{each.model} ({each.why})" for each in models[:_NAMED]]
    rest = len(models) - len(named)
    return ", ".join([*named, f"{rest} more"] if rest else named)


def own_models_of(pool: Pool, spec: ModelSpec) -> list[str]:
    """The pool's models that are the same model as `spec`, also behind another endpoint or in a worker's process."""
    return [name for name, other in pool.models.items() if _is_same(spec, other)]


def _is_same(one: ModelSpec, other: ModelSpec) -> bool:
    mine, theirs = _bare_name(one.model), _bare_name(other.model)
    if mine in _ANY_MODEL:
        return one.model == other.model and one.base_url is not None and one.base_url == other.base_url
    return mine == theirs


def _bare_name(model: str) -> str:
    """A model's name without its organization, in lower case; a folder's whole path.

    Folders of different models often have the same name, such as `checkpoint-500`. Those of a hub's cache have the
    model's name in their path.
    """
    if PurePath(model).is_absolute():
        cached = re.search(r"/models--([^/]+)/snapshots/", model)
        return model if cached is None else cached[1].rpartition("--")[2].casefold()
    return model.rpartition("/")[2].casefold()


def families(model: str) -> list[str]:
    """The known families that a model's name says it is of; of a folder, its last part counts."""
    name = _bare_name(model).rpartition("/")[2].casefold()
    return [family for family, names in _FAMILIES.items() if names.search(name)]


def _relation(pool: Pool, judge: ModelSpec, own: Sequence[str], model: str) -> tuple[Relation, str] | None:
    if model in own:
        return "same", "the judge's own model"
    lineage = [model, *_ancestors(pool, model)]
    for mine in own:
        forebears = [mine, *_ancestors(pool, mine)]
        if mine in lineage:
            return "lineage", "continues the judge's model"
        if model in forebears:
            return "lineage", "the judge's model continues it"
        shared = [name for name in forebears if name in lineage]
        if shared:
            return "lineage", f"continues {shared[0]}, as the judge's model does"
    shared = [family for family in families(judge.model) if family in families(pool.models[model].model)]
    return ("family", f"family {shared[0]}, as the judge's model") if shared else None


def _ancestors(pool: Pool, model: str) -> Iterator[str]:
    """The models that a model continues, nearest first."""
    seen = {model}
    while (parent := pool.parents.get(model)) is not None and parent not in seen:
        seen.add(parent)
        yield parent
        model = parent
