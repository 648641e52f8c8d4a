"""Skill discovery: assigns skills to prompts without a label, by clustering their embeddings.

Embedding costs more than everything else in scoring. It runs outside of any transaction and after the responses were
recorded, so that a failure loses no paid response. Then one short transaction assigns the prompts and moves the
clusters. A prompt keeps its first skill, however often and by whichever worker its responses are recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from karma.store import Store, Transaction
from karma.store import skills as rows
from karma.store.skills import SkillCluster
from karma_scoring.skill_discovery.clusters import Clusters
from karma_scoring.skill_discovery.embedding import question

#: texts → unit vectors, [texts, dimensions].
Embed = Callable[[Sequence[str]], NDArray[np.float32]]

#: Prompts in the sample that determines the number of clusters. With fewer, clusters would be split by chance.
SAMPLE = 256

#: The sample is drawn from ids up to this much below and above those of a batch.
_AROUND = 8192

#: A new sample is due when the stream has doubled, and after this many further prompts at the latest.
_SAMPLE_EVERY = 4096.0


@dataclass(frozen=True)
class _Embedded:
    """Vectors by prompt, embedded before the transaction. `sample` is empty where no sample is due."""

    batch: Mapping[int, NDArray[np.float64]]
    sample: Mapping[int, NDArray[np.float64]]


class SkillFinder:
    """Assigns skills to the prompts of streams. Several workers share the clusters through the store.

    Args:
        store: of prompts and clusters.
        embed: the streams' embedder.
        dimensions: of its vectors. Clusters of other dimensions, made by another embedder, are ignored.
    """

    def __init__(self, store: Store, embed: Embed, dimensions: int) -> None:
        self._store = store
        self._embed = embed
        self._dimensions = dimensions
        self._sampled_at: dict[str, float] = {}  # stream → weight of its clusters at this process's last sample

    def find(self, stream: str, prompts: Sequence[int]) -> dict[int, str]:
        """Assign a skill to those of the prompts that have none; returns prompt → assigned skill.

        A stream with fewer than `SAMPLE` prompts has no clusters, and its prompts stay without a skill. The first
        sample assigns skills to the sampled prompts too.

        Raises:
            StoreOutageError: the store is unavailable; nothing was written.
        """
        embedded = self._embedded(stream, prompts)
        if embedded is None:
            return {}
        with self._store.transaction() as transaction:
            locked = transaction.ledger.lock_prompts(embedded.batch)
            rows.lock_clusters(transaction.ledger.connection)
            without_skill = [id_ for id_ in embedded.batch if id_ in locked and locked[id_].skill is None]
            return self._assign(transaction, stream, without_skill, embedded)

    def _embedded(self, stream: str, prompts: Sequence[int]) -> _Embedded | None:
        with self._store.reading() as transaction:
            connection = transaction.ledger.connection
            batch = rows.unlabeled(connection, prompts)
            if not batch:
                return None
            known = [each for each in rows.clusters(connection, stream) if len(each.centroid) == 4 * self._dimensions]
            sampled: dict[int, str] = {}
            if self._sample_is_due(stream, known):
                between = (min(batch) - _AROUND, max(batch) + _AROUND)
                names = [cluster.name for cluster in known]
                ids = rows.sample(connection, stream, between, names, SAMPLE)
                sampled = transaction.ledger.messages_of(ids) if len(ids) == SAMPLE else {}
        if not known and not sampled:
            return None
        return _Embedded(self._vectors(batch), self._vectors(sampled))

    def _sample_is_due(self, stream: str, known: Sequence[SkillCluster]) -> bool:
        if not known:
            return True
        weight = sum(cluster.weight for cluster in known)
        last = self._sampled_at.setdefault(stream, weight)
        return weight >= min(2.0 * last, last + _SAMPLE_EVERY)

    def _vectors(self, messages: Mapping[int, str]) -> dict[int, NDArray[np.float64]]:
        if not messages:
            return {}
        vectors = self._embed([question(text) for text in messages.values()]).astype(np.float64)
        return dict(zip(messages, vectors, strict=True))

    def _assign(
        self, transaction: Transaction, stream: str, batch: Sequence[int], embedded: _Embedded
    ) -> dict[int, str]:
        connection = transaction.ledger.connection
        stored = rows.clusters(connection, stream)
        clusters = _read(stored, self._dimensions)
        if embedded.sample:
            first = rows.next_number(connection)
            sample = np.stack(list(embedded.sample.values()))
            clusters.split_and_merge(sample, (f"skill-{number}" for number in count(first)))
        assigned: dict[int, str] = {}
        if clusters.weights.any():
            if batch:
                indices = clusters.add(np.stack([embedded.batch[id_] for id_ in batch]))
                assigned = {id_: clusters.names[index] for id_, index in zip(batch, indices, strict=True)}
                rows.write_skills(connection, assigned, locked=True)
            others = [id_ for id_ in embedded.sample if id_ not in embedded.batch]
            if others:
                indices = clusters.nearest(np.stack([embedded.sample[id_] for id_ in others]))
                skills = {id_: clusters.names[index] for id_, index in zip(others, indices, strict=True)}
                rows.write_skills(connection, skills, locked=False)
        rows.write_clusters(connection, stream, _changed(clusters, stored))
        if embedded.sample:
            self._sampled_at[stream] = float(clusters.weights.sum())
        return assigned


def _read(stored: Sequence[SkillCluster], dimensions: int) -> Clusters:
    """The clusters of a stream; those of other dimensions, made by another embedder, get weight 0."""
    means = np.zeros((len(stored), dimensions))
    weights = np.zeros(len(stored))
    for index, cluster in enumerate(stored):
        mean = np.frombuffer(cluster.centroid, dtype=np.float32)
        if len(mean) == dimensions:
            means[index], weights[index] = mean, cluster.weight
    return Clusters([cluster.name for cluster in stored], weights, means)


def _changed(clusters: Clusters, stored: Sequence[SkillCluster]) -> list[SkillCluster]:
    before = {cluster.name: cluster for cluster in stored}
    after = [
        SkillCluster(name, float(weight), mean.astype(np.float32).tobytes())
        for name, weight, mean in zip(clusters.names, clusters.weights, clusters.means, strict=True)
    ]
    return [cluster for cluster in after if before.get(cluster.name) != cluster]
