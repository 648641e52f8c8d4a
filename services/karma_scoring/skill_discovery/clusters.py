"""Clusters of prompt embeddings: online spherical k-means with a variable number of clusters.

Each vector joins the cluster with the largest cosine similarity and moves its centroid (MacQueen 1967, on the sphere).
The number of clusters follows from a sample: clusters are split and merged by their share of the sample's variance
(Ward 1963), as in ISODATA (Ball & Hall 1965). The name of a cluster is never reused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float64]
Indices = NDArray[np.intp]

#: Most clusters with a positive weight.
MOST = 32

#: A cluster is split if this explains at least this share of the sample's variance. In a balanced stream of k distinct
#: skills a skill explains about 1/(2k), and each of two ways to phrase the same question about half of that.
SPLIT_SHARE = 0.02

#: Clusters are merged if their difference explains less than this share. It is below `SPLIT_SHARE`, so that no cluster
#: is split and merged again and again.
MERGE_SHARE = 0.01

#: A cluster with fewer prompts in the sample is neither split nor merged.
_FEWEST = 4

#: Most weight of a centroid against a new vector, so that it follows a stream that changes.
_MEMORY = 1000.0


@dataclass
class Clusters:
    """The clusters of one stream. Those with weight 0 were merged into others; they keep their names reserved.

    Attributes:
        names: of the k clusters, in the order of their creation.
        weights: prompts in each, [k].
        means: of the unit vectors of each, [k, dimensions].
    """

    names: list[str]
    weights: Vectors
    means: Vectors

    def nearest(self, vectors: Vectors) -> Indices:
        """The index of the cluster with the largest cosine for each of n unit vectors, [n].

        Only clusters with a positive weight count; there must be at least one.
        """
        norms = np.linalg.norm(self.means, axis=1)
        cosines = vectors @ (self.means / np.maximum(norms, 1e-12)[:, None]).T
        cosines[:, self.weights <= 0] = -np.inf
        index: Indices = cosines.argmax(axis=1)
        return index

    def add(self, vectors: Vectors) -> Indices:
        """Add n unit vectors to their nearest clusters and move the centroids; returns the clusters' indices, [n]."""
        nearest = self.nearest(vectors)
        for index in np.unique(nearest):
            joining = vectors[nearest == index]
            self.weights[index] += len(joining)
            step = len(joining) / min(self.weights[index], _MEMORY + len(joining))
            self.means[index] += (joining.mean(axis=0) - self.means[index]) * step
        return nearest

    def split_and_merge(self, sample: Vectors, names: Iterator[str]) -> None:
        """Split and merge clusters according to a sample of n unit vectors; creates the first clusters too.

        The largest part of a split cluster keeps its name, the others take the next of `names`. Of merged clusters the
        oldest keeps its name.
        """
        total = _squares(sample)
        if self.weights.any():
            nearest = self.nearest(sample)
        else:
            self._create(next(names), float(len(sample)), sample)
            nearest = np.full(len(sample), len(self.names) - 1, dtype=np.intp)
        members = {int(index): sample[nearest == index] for index in np.unique(nearest)}
        for index in list(members):
            self._split(index, members, SPLIT_SHARE * total, names)
        self._merge(members, MERGE_SHARE * total)

    def _split(self, index: int, members: dict[int, Vectors], cost: float, names: Iterator[str]) -> None:
        vectors, weight = members[index], self.weights[index]
        most = 1 + MOST - int((self.weights > 0).sum())
        first, *others = _parts(vectors, cost, most)
        if not others:
            return
        members[index], self.means[index] = first, first.mean(axis=0)
        self.weights[index] = weight * len(first) / len(vectors)
        for part in others:
            self._create(next(names), weight * len(part) / len(vectors), part)
            members[len(self.names) - 1] = part

    def _merge(self, members: dict[int, Vectors], cost: float) -> None:
        while True:
            candidates = sorted(index for index, vectors in members.items() if len(vectors) >= _FEWEST)
            costs = [
                (_merge_cost(members[first], members[second]), first, second)
                for number, first in enumerate(candidates)
                for second in candidates[number + 1 :]
            ]
            least, first, second = min(costs, default=(np.inf, 0, 0))
            if least >= cost:
                return
            members[first] = np.concatenate([members[first], members.pop(second)])
            self.means[first] = members[first].mean(axis=0)
            self.weights[first] += self.weights[second]
            self.weights[second] = 0.0

    def _create(self, name: str, weight: float, vectors: Vectors) -> None:
        self.names.append(name)
        self.weights = np.append(self.weights, weight)
        self.means = np.concatenate([self.means, vectors.mean(axis=0)[None]])


def _parts(vectors: Vectors, cost: float, most: int) -> list[Vectors]:
    """At most `most` clusters of the vectors, largest first: Ward's tree cut at merges that cost more than `cost`."""
    from scipy.cluster.hierarchy import fcluster, linkage  # installed with sentence-transformers

    if len(vectors) < 2 or most < 2:
        return [vectors]
    tree = linkage(vectors, "ward")
    labels = fcluster(tree, np.sqrt(2.0 * cost), "distance")  # a merge at height h adds h²/2 to the sum of squares
    if labels.max() > most:
        labels = fcluster(tree, most, "maxclust")
    parts = [vectors[labels == label] for label in np.unique(labels)]
    return sorted(parts, key=len, reverse=True)


def _squares(vectors: Vectors) -> float:
    return float(((vectors - vectors.mean(axis=0)) ** 2).sum())


def _merge_cost(first: Vectors, second: Vectors) -> float:
    """The increase of the sum of squares within clusters by merging two (Ward 1963)."""
    gap = first.mean(axis=0) - second.mean(axis=0)
    return float(len(first) * len(second) / (len(first) + len(second)) * (gap @ gap))
