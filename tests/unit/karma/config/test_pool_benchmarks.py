"""What the pool file says of competencies beforehand: benchmarks, and which kinship a stream goes by."""

from pathlib import Path
from typing import Any

import pytest

from karma.config.pool import Pool
from karma.errors import SettingsError

ENDPOINT = {"backend": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "m"}


def pool(benchmarks: Any, **tables: Any) -> Pool:
    """Two models, the first with benchmarks."""
    models = {"a": {**ENDPOINT, "benchmarks": benchmarks}, "b": ENDPOINT}
    return Pool.from_tables({"models": models, "judges": {"j": {"kind": "verifier"}}, **tables}, Path("pool.toml"))


def test_benchmarks_are_read_by_model() -> None:
    """Whole numbers are scores too; a model without any is not named."""
    assert pool({"ifeval": 0.71, "elo": 1200}).benchmarks == {"a": {"ifeval": 0.71, "elo": 1200.0}}
    assert pool({}).benchmarks == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (0.71, r"\[models.a\] benchmarks is 0.71, expected a table such as \{ifeval = 0.71\}"),
        ({"ifeval": "71 %"}, r"\[models.a\] benchmarks.ifeval is '71 %', expected a number"),
        ({"ifeval": True}, r"benchmarks.ifeval is True, expected a number"),
        ({"ifeval": float("nan")}, r"benchmarks.ifeval is nan, expected a number"),
    ],
)
def test_what_is_no_score_is_refused(given: Any, message: str) -> None:
    """The error names the file, the key, what was found and what was expected."""
    with pytest.raises(SettingsError, match=message):
        pool(given)


def test_a_stream_says_which_kinship_it_goes_by() -> None:
    """For all streams or for one; posterior unless it says so, and another word is refused."""
    read = pool({}, streams={"paper": {"policy": "kin", "kinship": "cosine"}})

    assert (read.stream("paper").kinship, read.stream("default").kinship) == ("cosine", "posterior")
    with pytest.raises(SettingsError, match="kinship is 'cousin': expected one of posterior, cosine"):
        pool({}, stream={"kinship": "cousin"})


def test_earlier_names_of_a_model_are_its_aliases() -> None:
    assert named(["b-1", "b-2"]).aliases == {"b-1": "b", "b-2": "b"}


@pytest.mark.parametrize(
    ("aliases", "message"),
    [
        ("old", r"\[models.b\] aliases is 'old', expected earlier names of the model, such as \[\"b-v1\"\]"),
        (["a"], r"\[models.b\] aliases has 'a', which also names \[models.a\]"),
        (["old"], r"\[models.b\] aliases has 'old', which also names \[models.a\]"),
    ],
)
def test_a_name_that_could_mean_two_models_is_no_alias(aliases: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        named(aliases, of_a=["old"])


def named(aliases: Any, of_a: Any = ()) -> Pool:
    """Two models with earlier names."""
    models = {"a": {**ENDPOINT, "aliases": list(of_a)}, "b": {**ENDPOINT, "aliases": aliases}}
    return Pool.from_tables({"models": models, "judges": {"j": {"kind": "verifier"}}}, Path("pool.toml"))
