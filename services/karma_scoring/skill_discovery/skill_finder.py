"""Skills found from embeddings, for prompts that came without a label.

Embedding costs more than everything else that scoring does, so it happens outside any transaction and after the
responses were recorded: what was paid for is safe before it begins. Then one short transaction places the prompts and
moves the clusters. A prompt that has a skill keeps it, whoever brings its responses, and how often.
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
from karma_scoring.skill_discovery.embedding import asked

#: texts → unit vectors, [texts, dimensions].
Embed = Callable[[Sequence[str]], NDArray[np.float32]]

#: Prompts looked at to settle which skills there are. Fewer say too little: chance would split skills.
SAMPLE = 256

#: Ids before and after a batch among which the sample is taken.
_AROUND = 8192

#: The sample is looked at again when the stream has doubled, and at the latest after so many prompts more.
_LOOK_EVERY = 4096.0


@dataclass(frozen=True)
class _Embedded:
    """What was embedded before the transaction: vectors by prompt. `sample` is empty where no look is due."""

    batch: Mapping[int, NDArray[np.float64]]
    sample: Mapping[int, NDArray[np.float64]]


class SkillFinder:
    """Gives skills to a stream's prompts. Any number of workers may each have one: what they learn is in the store.

    Args:
        store: where prompts and clusters are.
        embed: the stream's embedder.
        dimensions: of its vectors. Clusters of others, made by another embedder, say nothing to this one.
    """

    def __init__(self, store: Store, embed: Embed, dimensions: int) -> None:
        self._store = store
        self._embed = embed
        self._dimensions = dimensions
        self._looked_at: dict[str, float] = {}  # stream → prompts behind its clusters at this process's last look

    def find(self, stream: str, prompts: Sequence[int]) -> dict[int, str]:
        """Give a skill to those of the prompts that have none; returns the skills given, by prompt.

        While a stream has fewer than 256 prompts there is nothing to tell skills apart by, and they stay without. Once
        there are enough, those of the sample that went before or still wait get theirs as well.

        Raises:
            StoreOutageError: the store is away; nothing was written.
        """
        embedded = self._embedded(stream, prompts)
        if embedded is None:
            return {}
        with self._store.transaction() as transaction:
            locked = transaction.ledger.lock_prompts(embedded.batch)
            rows.lock_clusters(transaction.ledger.connection)
            still_open = [id_ for id_ in embedded.batch if id_ in locked and locked[id_].skill is None]
            return self._place(transaction, stream, still_open, embedded)

    def _embedded(self, stream: str, prompts: Sequence[int]) -> _Embedded | None:
        with self._store.reading() as transaction:
            connection = transaction.ledger.connection
            batch = rows.unlabelled(connection, prompts)
            if not batch:
                return None
            known = [one for one in rows.clusters(connection, stream) if len(one.centroid) == 4 * self._dimensions]
            sampled: dict[int, str] = {}
            if self._look_is_due(stream, known):
                between = (min(batch) - _AROUND, max(batch) + _AROUND)
                names = [one.name for one in known]
                ids = rows.sample(connection, stream, between, names, SAMPLE)
                sampled = transaction.ledger.messages_of(ids) if len(ids) == SAMPLE else {}
        if not known and not sampled:
            return None
        return _Embedded(self._vectors(batch), self._vectors(sampled))

    def _look_is_due(self, stream: str, known: Sequence[SkillCluster]) -> bool:
        if not known:
            return True
        weight = sum(one.weight for one in known)
        last = self._looked_at.setdefault(stream, weight)
        return weight >= min(2.0 * last, last + _LOOK_EVERY)

    def _vectors(self, messages: Mapping[int, str]) -> dict[int, NDArray[np.float64]]:
        if not messages:
            return {}
        vectors = self._embed([asked(one) for one in messages.values()]).astype(np.float64)
        return dict(zip(messages, vectors, strict=True))

    def _place(
        self, transaction: Transaction, stream: str, batch: Sequence[int], embedded: _Embedded
    ) -> dict[int, str]:
        connection = transaction.ledger.connection
        stored = rows.clusters(connection, stream)
        found = _read(stored, self._dimensions)
        if embedded.sample:
            first = rows.next_number(connection)
            found.look(np.stack(list(embedded.sample.values())), (f"skill-{number}" for number in count(first)))
        given: dict[int, str] = {}
        if found.weights.any():
            if batch:
                places = found.learn(np.stack([embedded.batch[id_] for id_ in batch]))
                given = {id_: found.names[place] for id_, place in zip(batch, places, strict=True)}
                rows.write_skills(connection, given, locked=True)
            others = [id_ for id_ in embedded.sample if id_ not in embedded.batch]
            if others:
                places = found.nearest(np.stack([embedded.sample[id_] for id_ in others]))
                skills = {id_: found.names[place] for id_, place in zip(others, places, strict=True)}
                rows.write_skills(connection, skills, locked=False)
        rows.write_clusters(connection, stream, _changed(found, stored))
        if embedded.sample:
            self._looked_at[stream] = float(found.weights.sum())
        return given


def _read(stored: Sequence[SkillCluster], dimensions: int) -> Clusters:
    """The clusters of a stream; those that another embedder made, of other dimensions, count as merged away."""
    means = np.zeros((len(stored), dimensions))
    weights = np.zeros(len(stored))
    for place, one in enumerate(stored):
        mean = np.frombuffer(one.centroid, dtype=np.float32)
        if len(mean) == dimensions:
            means[place], weights[place] = mean, one.weight
    return Clusters([one.name for one in stored], weights, means)


def _changed(found: Clusters, stored: Sequence[SkillCluster]) -> list[SkillCluster]:
    known = {one.name: one for one in stored}
    now = [
        SkillCluster(name, float(weight), mean.astype(np.float32).tobytes())
        for name, weight, mean in zip(found.names, found.weights, found.means, strict=True)
    ]
    return [one for one in now if known.get(one.name) != one]
