from __future__ import annotations

import pytest

from featurelib.errors import ConfigError
from featurelib.training.features import candidate_columns, resolve_features

COLUMNS = ("origin", "dest", "origin_weather__temp_latest", "origin_arrivals__late_mean_6h", "distance")


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["distance", "origin"], ("distance", "origin")),
        (["*"], COLUMNS),
        (["*", "!origin_weather__*"], ("origin", "dest", "origin_arrivals__late_mean_6h", "distance")),
        (["origin", "origin*"], ("origin", "origin_weather__temp_latest", "origin_arrivals__late_mean_6h")),
        (["origin_*", "!origin_*", "dest"], ("dest",)),
    ],
)
def test_patterns_apply_in_order(patterns, expected):
    """Patterns take and take away one after another, and each feature comes once."""
    assert expected == resolve_features(patterns, COLUMNS, what="model m")


def test_a_pattern_without_a_match_names_the_nearest_column():
    """A misspelt feature is refused with the name that was meant."""
    with pytest.raises(ConfigError, match="Did you mean 'distance'"):
        resolve_features(["distanc"], COLUMNS, what="model m")


def test_a_misspelt_removal_is_refused():
    """A ``!`` pattern that matches nothing would let a feature slip in, so it is an error."""
    with pytest.raises(ConfigError, match="'destt' matches none"):
        resolve_features(["*", "!destt"], COLUMNS, what="model m")


def test_nothing_left_is_refused():
    """Patterns that take everything away leave no model."""
    with pytest.raises(ConfigError, match="leave no feature"):
        resolve_features(["dest", "!dest"], COLUMNS, what="model m")


def test_reserved_and_underscored_columns_are_no_candidates():
    """The label, the key and the engine's own columns are never features."""
    found = candidate_columns(("key", "late", "_split", "distance"), reserved=("key", "late"))

    assert found == ("distance",)
