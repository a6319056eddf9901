"""Shapley values of trees are those of trying all subsets of features."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from featurelib.training.tree_shap import Node, Tree, tree_shap


def grown(draw: np.random.Generator, features: int, depth: int) -> Tree:
    """A random tree whose rows add up; a feature may be asked about twice on a path, and one is a category."""
    nodes: dict[int, Node] = {}

    def grow(number: int, rows: float, level: int) -> None:
        if level == 0 or draw.random() < 0.15:
            nodes[number] = Node(float(draw.normal()), rows)
            return
        left = float(draw.integers(1, max(2, int(rows))))
        left = min(left, rows - 0.5)
        feature = int(draw.integers(0, features))
        below = {"left": 2 * number + 1, "right": 2 * number + 2}
        split = (
            {"left_categories": frozenset({0.0, 2.0})}
            if feature == 0
            else {"threshold": float(draw.random())}
        )
        nodes[number] = Node(0.0, rows, feature, **split, **below)
        grow(below["left"], left, level - 1)
        grow(below["right"], rows - left, level - 1)

    grow(0, 1000.0, depth)
    return Tree(nodes, float(draw.random()))


def expected(tree: Tree, vector: np.ndarray, known: set[int], number: int = 0) -> float:
    """What the tree says where only some features are known, straight from its definition."""
    node = tree.nodes[number]
    if node.feature < 0:
        return node.value
    if node.feature in known:
        return expected(tree, vector, known, node.left if node.goes_left(vector) else node.right)
    return sum(
        tree.nodes[below].rows / node.rows * expected(tree, vector, known, below)
        for below in (node.left, node.right)
    )


@pytest.mark.parametrize("seed", range(12))
def test_every_subset_agrees(seed: int) -> None:
    """Marginal gains over all subsets of five features, weighted by Shapley's formula, within 1e-12."""
    draw = np.random.default_rng(seed)
    features = 5
    trees = [grown(draw, features, depth) for depth in (0, 3, 5)]
    vector = np.array([float(draw.integers(0, 4)), *draw.random(features - 1)])

    base, values = tree_shap(trees, vector)

    def value(known: set[int]) -> float:
        return sum(tree.weight * expected(tree, vector, known) for tree in trees)

    for place in range(features):
        others = [one for one in range(features) if one != place]
        shap = 0.0
        for size in range(features):
            share = math.factorial(size) * math.factorial(features - size - 1) / math.factorial(features)
            for known in itertools.combinations(others, size):
                shap += share * (value({*known, place}) - value(set(known)))
        assert values[place] == pytest.approx(shap, abs=1e-12)
    assert base == pytest.approx(value(set()), abs=1e-12)
    assert base + values.sum() == pytest.approx(value(set(range(features))), abs=1e-12)
