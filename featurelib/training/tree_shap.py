"""Exact Shapley values of MLlib's trees, one row at a time.

A feature that is not known sends a row down both sides of its splits, by the training rows that went there
(the path-dependent expectation of Lundberg et al., "From local explanations to global understanding with
explainable AI for trees", 2020). A leaf counts for a subset of features by a product over the features on its
path, so its share of each feature's value is a sum over subset sizes, which a polynomial holds (as in Yang,
"Fast TreeSHAP", 2021): a leaf of depth d costs d squared steps, not 2 to the d.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import factorial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.ml.classification import GBTClassificationModel, RandomForestClassificationModel

from featurelib.training.metrics import Floats

if TYPE_CHECKING:
    from pyspark.sql import Row, SparkSession


@dataclass(frozen=True)
class Node:
    """A node of a tree.

    Attributes:
        value: what the tree says of a row that ends here.
        rows: training rows (by weight) that came here.
        feature: place of the vector that is asked about; -1 at a leaf.
        threshold: values up to it go left; None for a category.
        left_categories: categories that go left.
        left: the node below, by number; -1 at a leaf.
        right: likewise.
    """

    value: float
    rows: float
    feature: int = -1
    threshold: float | None = None
    left_categories: frozenset[float] = frozenset()
    left: int = -1
    right: int = -1

    def goes_left(self, vector: Floats) -> bool:
        """Return whether a row goes left from here."""
        value = vector[self.feature]
        return bool(value <= self.threshold if self.threshold is not None else value in self.left_categories)


@dataclass(frozen=True)
class Tree:
    """A tree by its nodes, the root first, and its weight in the ensemble."""

    nodes: Mapping[int, Node]
    weight: float


def tree_shap(trees: Iterable[Tree], vector: Floats) -> tuple[float, Floats]:
    """Return what the ensemble says where nothing is known, and the Shapley value of each place."""
    base, values = 0.0, np.zeros(len(vector))
    for tree in trees:
        for leaf, path in _paths(tree, vector):
            fraction = float(np.prod([share for share, _ in path.values()]))
            base += tree.weight * leaf * fraction
            for place, value in _leaf_values(path):
                values[place] += tree.weight * leaf * value
    return base, values


def _paths(tree: Tree, vector: Floats) -> Iterator[tuple[float, dict[int, tuple[float, bool]]]]:
    """Yield each leaf's value with, for each feature above it, the share of rows let through and whether
    this row is.
    """
    waiting: list[tuple[int, dict[int, tuple[float, bool]]]] = [(0, {})]
    while waiting:
        number, path = waiting.pop()
        node = tree.nodes[number]
        if node.feature < 0:
            yield node.value, path
            continue
        goes_left = node.goes_left(vector)
        for below, taken in ((node.left, goes_left), (node.right, not goes_left)):
            share, passed = path.get(node.feature, (1.0, True))
            share *= tree.nodes[below].rows / node.rows
            waiting.append((below, {**path, node.feature: (share, passed and taken)}))


def _leaf_values(path: Mapping[int, tuple[float, bool]]) -> Iterator[tuple[int, float]]:
    """Yield the share of a leaf's value that each feature on its path is worth.

    Known, a feature lets the row through or not; unknown, it lets its share through. The polynomial of the
    others holds at each power the products over all subsets of that size.
    """
    count = len(path)
    sizes = [factorial(size) * factorial(count - size - 1) / factorial(count) for size in range(count)]
    for place, (share, passed) in path.items():
        others = np.ones(1)
        for other, (other_share, other_passed) in path.items():
            if other != place:
                others = np.convolve(others, [other_share, float(other_passed)])
        yield place, (float(passed) - share) * float(others @ np.array(sizes))


def trees_of(model: Any, spark: SparkSession, *, scratch: Path) -> list[Tree]:  # noqa: ANN401 - an untyped model of pyspark
    """Return the trees of a fitted boosted ensemble or forest of MLlib, weighted to sum to its margin.

    The margin of a boosted classifier is its log-odds, twice what its trees sum to; that of a forest is its
    probability, the mean of the shares of positives at the leaves.

    Args:
        model: the fitted ensemble.
        spark: reads the nodes back, as the model gives them to nobody otherwise.
        scratch: a folder not there yet, which driver and executors share; it is removed.
    """
    model.write().save(scratch.as_uri())
    try:
        rows = spark.read.parquet((scratch / "data").as_uri()).select("treeID", "nodeData.*").collect()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    is_forest = isinstance(model, RandomForestClassificationModel)
    weights = [float(weight) for weight in model.treeWeights]
    scale = 1 / sum(weights) if is_forest else 2.0
    nodes: list[dict[int, Node]] = [{} for _ in weights]
    for row in rows:
        nodes[row["treeID"]][row["id"]] = _node(row, is_forest=is_forest)
    return [Tree(found, weight * scale) for found, weight in zip(nodes, weights, strict=True)]


def is_tree_ensemble(model: Any) -> bool:  # noqa: ANN401 - an untyped model of pyspark
    """Return whether a fitted model is one of those :func:`trees_of` reads."""
    return isinstance(model, RandomForestClassificationModel | GBTClassificationModel)


def _node(row: Row, *, is_forest: bool) -> Node:
    stats = row["impurityStats"]
    value = stats[1] / sum(stats) if is_forest else row["prediction"]
    if row["leftChild"] < 0:
        return Node(value, row["rawCount"])
    split = row["split"]
    is_category = split["numCategories"] >= 0
    given = split["leftCategoriesOrThreshold"]
    return Node(
        value,
        row["rawCount"],
        split["featureIndex"],
        threshold=None if is_category else given[0],
        left_categories=frozenset(given) if is_category else frozenset(),
        left=row["leftChild"],
        right=row["rightChild"],
    )
