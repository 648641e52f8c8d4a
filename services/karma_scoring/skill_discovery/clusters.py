"""Clusters of embedded prompts: online spherical k-means whose number of clusters follows what the texts show.

Each vector goes to the centroid with the greatest cosine and moves it (MacQueen 1967 on the sphere). How many clusters
there are is settled by looking at a sample now and then: a cluster is split, and clusters are merged, by the share of
the sample's variance that is at stake (Ward 1963), as in ISODATA (Ball & Hall 1965). Names never change hands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float64]
Places = NDArray[np.intp]

#: At most so many skills have prompts.
MOST = 32

#: A split must explain this share of the sample's variance. A skill of a balanced stream of k unlike skills explains
#: about 1/2k of it, one of two ways to put the same question about half of that: between the two there is room.
SPLIT_SHARE = 0.02

#: Clusters whose difference explains less than this share are merged. Below the first, so that nothing swings.
MERGE_SHARE = 0.01

#: A cluster with fewer prompts in the sample is not judged by it.
_FEWEST = 4

#: A centroid weighs no more than so many prompts against a new one: it follows a stream that changes.
_MEMORY = 1000.0


@dataclass
class Clusters:
    """The clusters of one stream. A weight of 0: merged into another, kept so that its name is not given again.

    Attributes:
        names: of the k clusters, in the order in which they were found.
        weights: prompts that formed each, [k].
        means: of the unit vectors of each, [k, dimensions].
    """

    names: list[str]
    weights: Vectors
    means: Vectors

    def nearest(self, vectors: Vectors) -> Places:
        """The living cluster with the greatest cosine, for each of n unit vectors, [n]. At least one must live."""
        norms = np.linalg.norm(self.means, axis=1)
        cosines = vectors @ (self.means / np.maximum(norms, 1e-12)[:, None]).T
        cosines[:, self.weights <= 0] = -np.inf
        found: Places = cosines.argmax(axis=1)
        return found

    def learn(self, vectors: Vectors) -> Places:
        """Place n unit vectors, [n], and move the centroids that they went to."""
        places = self.nearest(vectors)
        for place in np.unique(places):
            joining = vectors[places == place]
            self.weights[place] += len(joining)
            step = len(joining) / min(self.weights[place], _MEMORY + len(joining))
            self.means[place] += (joining.mean(axis=0) - self.means[place]) * step
        return places

    def look(self, sample: Vectors, names: Iterator[str]) -> None:
        """Split and merge clusters as a sample of n unit vectors shows; without any cluster, find the first ones.

        The largest part of a split cluster keeps its name, the others take the next of `names`; of merged clusters the
        one that was found first keeps its name.
        """
        total = _squares(sample)
        if self.weights.any():
            places = self.nearest(sample)
        else:
            self._add(next(names), float(len(sample)), sample)
            places = np.full(len(sample), len(self.names) - 1, dtype=np.intp)
        members = {int(place): sample[places == place] for place in np.unique(places)}
        for place in list(members):
            self._split(place, members, SPLIT_SHARE * total, names)
        self._merge(members, MERGE_SHARE * total)

    def _split(self, place: int, members: dict[int, Vectors], cost: float, names: Iterator[str]) -> None:
        vectors, weight = members[place], self.weights[place]
        room = 1 + MOST - int((self.weights > 0).sum())
        first, *others = _parts(vectors, cost, room)
        if not others:
            return
        members[place], self.means[place] = first, first.mean(axis=0)
        self.weights[place] = weight * len(first) / len(vectors)
        for part in others:
            self._add(next(names), weight * len(part) / len(vectors), part)
            members[len(self.names) - 1] = part

    def _merge(self, members: dict[int, Vectors], cost: float) -> None:
        while True:
            judged = sorted(place for place, vectors in members.items() if len(vectors) >= _FEWEST)
            at_stake = [
                (_between(members[first], members[second]), first, second)
                for number, first in enumerate(judged)
                for second in judged[number + 1 :]
            ]
            least, first, second = min(at_stake, default=(np.inf, 0, 0))
            if least >= cost:
                return
            members[first] = np.concatenate([members[first], members.pop(second)])
            self.means[first] = members[first].mean(axis=0)
            self.weights[first] += self.weights[second]
            self.weights[second] = 0.0

    def _add(self, name: str, weight: float, vectors: Vectors) -> None:
        self.names.append(name)
        self.weights = np.append(self.weights, weight)
        self.means = np.concatenate([self.means, vectors.mean(axis=0)[None]])


def _parts(vectors: Vectors, cost: float, most: int) -> list[Vectors]:
    """Cut Ward's tree where joining would cost more than `cost`; the parts, largest first."""
    from scipy.cluster.hierarchy import fcluster, linkage  # comes with sentence-transformers

    if len(vectors) < 2 or most < 2:
        return [vectors]
    tree = linkage(vectors, "ward")
    labels = fcluster(tree, np.sqrt(2.0 * cost), "distance")  # a join at height h adds h²/2 to the squares
    if labels.max() > most:
        labels = fcluster(tree, most, "maxclust")
    parts = [vectors[labels == label] for label in np.unique(labels)]
    return sorted(parts, key=len, reverse=True)


def _squares(vectors: Vectors) -> float:
    return float(((vectors - vectors.mean(axis=0)) ** 2).sum())


def _between(first: Vectors, second: Vectors) -> float:
    """What joining two clusters adds to the sum of squares within them (Ward 1963)."""
    gap = first.mean(axis=0) - second.mean(axis=0)
    return float(len(first) * len(second) / (len(first) + len(second)) * (gap @ gap))
