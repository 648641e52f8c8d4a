"""Judges that are kin to what they judge: of the same model, lineage or family, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from karma.config.kin_judges import families, kin_judges, notices
from karma.config.pool import Pool


def endpoint(model: str, url: str = "http://127.0.0.1:8000/v1", **more: str) -> dict[str, Any]:
    return {"backend": "openai", "base_url": url, "model": model, **more}


def pool_of(models: dict[str, Any], judge: dict[str, Any] | None, folder: Path = Path(), **tables: Any) -> Pool:
    """A pool whose judge `j` asks a model; a verifier where it asks none."""
    table = {"kind": "verifier"} if judge is None else {"kind": "openai", "model": judge}
    return Pool.from_tables({"models": models, "judges": {"j": table}, **tables}, folder / "pool.toml")


def found(pool: Pool, stream: str | None = None) -> dict[str, tuple[str, str]]:
    return {each.model: (each.relation, each.why) for each in kin_judges(pool, stream)}


def test_a_judge_of_another_family_has_no_kin() -> None:
    models = {
        "q": endpoint("Qwen/Qwen3-8B"),
        "l": endpoint("meta-llama/Llama-3.1-8B-Instruct"),
        "f": endpoint("fern-1b"),
    }
    assert found(pool_of(models, endpoint("mistral-large-latest"))) == {}
    assert found(pool_of(models, endpoint("fern-70b"))) == {}  # of no family that is known


@pytest.mark.parametrize("kind", ["verifier", "prior"])
def test_a_judge_without_a_model_has_no_kin(kind: str) -> None:
    models = {"a": endpoint("gpt-4o"), "b": endpoint("gpt-4o-mini")}
    pool = Pool.from_tables({"models": models, "judges": {"j": {"kind": kind}}}, Path("pool.toml"))
    assert kin_judges(pool) == []
    assert notices(kin_judges(pool)) == []


@pytest.mark.parametrize(
    ("judged", "judging"),
    [
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("Qwen/Qwen3-8B", "qwen3-8b"),
        ("openai/fern", "fern"),
    ],
)
def test_the_same_model_is_known_behind_other_endpoints(judged: str, judging: str) -> None:
    pool = pool_of({"a": endpoint(judged), "b": endpoint("x")}, endpoint(judging, "https://other.example/v1"))
    assert found(pool) == {"a": ("same", "the judge's own model")}


def test_a_name_that_servers_give_to_any_model_says_nothing_of_another_endpoint() -> None:
    models = {"a": endpoint("default"), "b": endpoint("default", "http://127.0.0.1:8001/v1")}
    assert found(pool_of(models, endpoint("default", "http://127.0.0.1:9000/v1"))) == {}
    assert found(pool_of(models, endpoint("default"))) == {"a": ("same", "the judge's own model")}


def test_the_same_checkpoint_is_known_by_its_folder_and_not_by_the_folders_name(tmp_path: Path) -> None:
    for run in ("one", "two"):
        (tmp_path / run / "checkpoint-500").mkdir(parents=True)
    local = {name: {"backend": "transformers", "model": f"{name}/checkpoint-500"} for name in ("one", "two")}
    judges = {"j": {"kind": "likelihood", "model": {"backend": "transformers", "model": "./one/checkpoint-500"}}}
    pool = Pool.from_tables({"models": local, "judges": judges}, tmp_path / "pool.toml")
    assert found(pool) == {"one": ("same", "the judge's own model")}


def test_parents_children_and_siblings_of_the_judges_model_are_its_kin() -> None:
    models = {
        "base": endpoint("fern-base"),
        "sft": endpoint("fern-sft", parent="base"),
        "dpo": endpoint("fern-dpo", parent="sft"),
        "twin": endpoint("fern-twin", parent="base"),
        "other": endpoint("oak"),
    }
    assert found(pool_of(models, endpoint("fern-sft"))) == {
        "base": ("lineage", "the judge's model continues it"),
        "sft": ("same", "the judge's own model"),
        "dpo": ("lineage", "continues the judge's model"),
        "twin": ("lineage", "continues base, as the judge's model does"),
    }


def test_parents_in_a_circle_end() -> None:
    models = {"a": endpoint("fern", parent="b"), "b": endpoint("oak", parent="a"), "c": endpoint("elm")}
    assert set(found(pool_of(models, endpoint("fern")))) == {"a", "b"}


def test_models_of_one_process_are_no_kin(tmp_path: Path) -> None:
    """`group` says where a model runs."""
    (tmp_path / "ash").mkdir()
    (tmp_path / "elm").mkdir()
    models = {name: {"backend": "transformers", "model": name, "group": "g"} for name in ("ash", "elm")}
    judges = {"j": {"kind": "likelihood", "model": {"backend": "transformers", "model": "ash"}}}
    assert set(found(Pool.from_tables({"models": models, "judges": judges}, tmp_path / "pool.toml"))) == {"ash"}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o-mini", ["GPT"]),
        ("openai/o3-mini", ["GPT"]),
        ("gpt-35-turbo", ["GPT"]),
        ("gpt2", []),
        ("EleutherAI/gpt-neox-20b", []),
        ("claude-3-5-haiku-latest", ["Claude"]),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", ["DeepSeek", "Qwen"]),
        ("NousResearch/Hermes-3-Llama-3.1-8B", ["Llama"]),
        ("TinyLlama/TinyLlama-1.1B", []),  # trained anew
        ("Qwen/QwQ-32B", ["Qwen"]),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", ["Mistral"]),
        ("/srv/cache/models--google--gemma-2-9b-it/snapshots/0123abcd", ["Gemini and Gemma"]),
        ("/srv/models/Qwen3-8B", ["Qwen"]),
        ("/srv/qwen/checkpoint-500", []),
        ("my-judge", []),
        ("", []),
    ],
)
def test_families_are_known_by_the_names_of_models(model: str, expected: list[str]) -> None:
    assert families(model) == expected


def test_only_what_a_judge_judges_in_a_stream_counts() -> None:
    models = {name: endpoint(model) for name, model in {"g": "gpt-4o", "q": "qwen3-8b", "l": "llama-3-8b"}.items()}
    judges = {"j": {"kind": "openai", "model": endpoint("gpt-5")}, "k": {"kind": "prior"}}
    tables = {
        "models": models,
        "judges": judges,
        "stream": {"models": ["q", "l"]},
        "streams": {"mine": {"models": ["g", "q"]}, "free": {"models": ["g", "q"], "judges": ["k"]}},
    }
    pool = Pool.from_tables(tables, Path("pool.toml"))
    assert found(pool) == {"g": ("family", "family GPT, as the judge's model")}
    assert set(found(pool, "mine")) == {"g"}
    assert found(pool, "free") == found(pool, "any other") == {}


def test_a_judge_gets_one_sentence_with_what_to_do() -> None:
    models = {f"g{number}": endpoint(f"gpt-4.{number}") for number in range(7)} | {"q": endpoint("qwen")}
    (sentence,) = notices(kin_judges(pool_of(models, endpoint("gpt-5"))))
    assert sentence == (
        "The judge j may favor its kin, which it judges: "
        + ", ".join(f"g{number} (family GPT, as the judge's model)" for number in range(4))
        + ", 3 more. Name a judge of another family, or add one beside it."
    )
