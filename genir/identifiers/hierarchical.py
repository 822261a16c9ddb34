"""Hierarchical k-means identifiers: the path through a cluster tree, then a number in the leaf.

DSI, arXiv:2202.06991, section 3.2.

A node with more than `leaf` documents is split into `branches` clusters. The children of a node are
either all nodes or all documents, so no identifier is a prefix of another.
"""

from collections import deque
from collections.abc import Iterator, Sequence, Set
from functools import cached_property
from typing import Any, ClassVar, Self

import faiss
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genir.config import StrictModel
from genir.errors import InputError
from genir.identifiers.base import Scheme, Vectors
from genir.identifiers.serialization import SchemeFiles
from genir.identifiers.tie_breaker import TieBreaker
from genir.identifiers.vectors import require_documents, require_vectors, track_chunks
from genir.types import Document, Identifier

VECTORS_PER_BATCH = 65_536
TREE: dict[str, tuple[type[np.generic], int]] = {
    "centroids": (np.float32, 2),
    "first": (np.int64, 1),
    "count": (np.int64, 1),
}
"""Fitted arrays, each with its dtype and number of dimensions."""


class HierarchicalOptions(StrictModel):
    """Children of a node, initial maximum number of documents of a leaf, clustering seed.

    A leaf has twice as many numbers, to leave room for insertions.
    """

    branches: int = Field(default=10, ge=2)
    leaf: int = Field(default=100, ge=1)
    seed: int = Field(default=0, ge=0)


class Hierarchical(Scheme):
    """Recursive k-means.

    A document descends to the nearest child down to a leaf; if the leaf is full, to the next one.

    Attributes:
        centroids: float32 [nodes, dimension]; the root is node 0, siblings are adjacent.
        first: First child of each node, int64 [nodes].
        count: Number of children of each node, int64 [nodes]; 0 for a leaf.
    """

    name: ClassVar[str] = "hierarchical"
    Options: ClassVar[type[StrictModel]] = HierarchicalOptions
    needs_vectors: ClassVar[bool] = True
    options: HierarchicalOptions
    centroids: Vectors
    first: NDArray[np.int64]
    count: NDArray[np.int64]

    def fit(self, corpus: Sequence[Document], vectors: Vectors | None = None) -> Self:
        """Build the tree, breadth first."""
        require_documents(self.name, corpus)
        vectors = require_vectors(self.name, corpus, vectors)
        centroids, first, count = [vectors.mean(axis=0)], [0], [0]
        waiting = deque([(0, np.arange(len(vectors)))])
        while waiting:
            node, rows = waiting.popleft()
            if len(rows) <= self.options.leaf:
                continue
            centres, nearest = self._split(vectors[rows])
            first[node], count[node] = len(centroids), len(centres)
            waiting.extend(
                (len(centroids) + child, rows[nearest == child]) for child in range(len(centres))
            )
            centroids.extend(centres)
            first.extend([0] * len(centres))
            count.extend([0] * len(centres))
        self.centroids = np.stack(centroids)
        self.first, self.count = np.array(first), np.array(count)
        return self

    def _split(self, vectors: Vectors) -> tuple[Vectors, NDArray[np.int64]]:
        """Return centroids [children, dimension] and each vector's child; no child is empty."""
        branches = min(self.options.branches, len(vectors))
        clusters = faiss.Kmeans(
            vectors.shape[1], branches, seed=self.options.seed, min_points_per_centroid=1
        )
        clusters.train(vectors)
        centroids = np.asarray(clusters.centroids, dtype=np.float32)
        used, nearest = np.unique(nearest_rows(vectors, centroids), return_inverse=True)
        if len(used) > 1:
            return centroids[used], nearest
        # Equal vectors cannot be clustered; distribute them evenly.
        return np.repeat(vectors[:1], branches, axis=0), np.arange(len(vectors)) % branches

    def encode(
        self,
        documents: Sequence[Document],
        vectors: Vectors | None = None,
        reserved: Set[Identifier] = frozenset(),
    ) -> list[list[Identifier]]:
        """Return the path to each document's leaf, and the lowest free number in it."""
        vectors = require_vectors(self.name, documents, vectors, self.centroids.shape[1])
        tie_breaker = TieBreaker(2 * self.options.leaf, reserved)
        identifiers = []
        for row, leaf in enumerate(self._descend(vectors).tolist()):
            place = tie_breaker.next_symbol(self._paths[leaf])
            place = place or self._nearest_free_leaf(documents[row].key, vectors[row], tie_breaker)
            identifiers.append([place])
        return identifiers

    def _descend(self, vectors: Vectors) -> NDArray[np.int64]:
        leaves = np.zeros(len(vectors), dtype=np.int64)
        for rows in track_chunks(len(vectors), VECTORS_PER_BATCH, "hierarchical clusters"):
            self._descend_chunk(vectors[rows], leaves[rows])
        return leaves

    def _descend_chunk(self, vectors: Vectors, nodes: NDArray[np.int64]) -> None:
        """Replace the node of each vector by its leaf, in place, starting at the root."""
        waiting = [(0, np.arange(len(vectors)))]
        while waiting:
            node, rows = waiting.pop()
            nodes[rows] = node
            if self.count[node]:
                nearest = self.first[node] + nearest_rows(vectors[rows], self._children(node))
                waiting.extend((int(n), rows[nearest == n]) for n in np.unique(nearest))

    def _nearest_free_leaf(self, key: str, vector: Vectors, tie_breaker: TieBreaker) -> Identifier:
        """Return a free number in the nearest leaf that has one."""
        for leaf in self._leaves_by_distance(vector, 0):
            place = tie_breaker.next_symbol(self._paths[leaf])
            if place is not None:
                return place
        raise InputError(
            f"document {key!r}: all {2 * self.options.leaf} numbers of all leaves are used; "
            "train again on the current corpus"
        )

    def _leaves_by_distance(self, vector: Vectors, node: int) -> Iterator[int]:
        if not self.count[node]:
            yield node
            return
        distances = np.square(self._children(node) - vector).sum(axis=1)
        for child in np.argsort(distances, kind="stable").tolist():
            yield from self._leaves_by_distance(vector, int(self.first[node]) + child)

    def _children(self, node: int) -> Vectors:
        return self.centroids[self.first[node] : self.first[node] + self.count[node]]

    @cached_property
    def _paths(self) -> list[Identifier]:
        """Digits of each node from the root; children have higher indices than their parent."""
        paths: list[Identifier] = [()] * len(self.centroids)
        for node, (first, count) in enumerate(zip(self.first, self.count, strict=True)):
            for digit in range(int(count)):
                paths[int(first) + digit] = (*paths[node], digit)
        return paths

    def level_sizes(self) -> list[int]:
        """Return the number of digits or leaf numbers at each depth."""
        depths = np.array([len(path) for path in self._paths])
        widths = np.where(self.count > 0, self.count, 2 * self.options.leaf)
        return [int(widths[depths == depth].max()) for depth in range(int(depths.max()) + 1)]

    def to_text(self, identifier: Identifier) -> str:
        """Return the digits such as `3-1-42`."""
        return "-".join(map(str, identifier))

    def fitted_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the tree."""
        return {name: getattr(self, name) for name in TREE}

    def restore(self, saved: SchemeFiles) -> None:
        """Set the tree."""
        arrays = saved.arrays(TREE)
        self.centroids, self.first, self.count = (arrays[name] for name in TREE)


def nearest_rows(vectors: Vectors, centroids: Vectors) -> NDArray[np.int64]:
    """Return the index of the nearest centroid of each vector, [vectors]; the first of ties."""
    distances = np.square(centroids).sum(axis=1) - 2 * vectors @ centroids.T
    return distances.argmin(axis=1)
