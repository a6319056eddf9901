"""What happens to numbers before a learner sees them, as SQL with the fitted values written into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Literal

import numpy as np

from featurelib.errors import ConfigError
from featurelib.model_specs import select_names
from featurelib.preparation_specs import Imputation, Impute, Outliers, PreparationSpec
from featurelib.training.columns import double, number, quoted, scaled
from featurelib.training.features import resolve_features
from featurelib.training.look import Floats

_MOST_TERMS = 2_000


def outlier_bounds(values: Floats, outliers: Outliers) -> tuple[float, float] | None:
    """Return the lowest and highest value that stays; None where nothing can be said.

    Args:
        values: of training rows; NaN where missing.
        outliers: the method. Quantiles are interpolated, as numpy and scikit-learn have them.
    """
    limits = outliers.limits
    if outliers.method == "cap":
        return limits[0], limits[1]
    given = values[~np.isnan(values)]
    if len(given) < 2:
        return None
    if outliers.method == "winsorize":
        low, high = np.quantile(given, limits)
        return float(low), float(high)
    if outliers.method == "zscore":
        middle, reach = float(given.mean()), limits[0] * float(given.std(ddof=1))
        return middle - reach, middle + reach
    first, third = np.quantile(given, [0.25, 0.75])
    reach = limits[0] * (third - first)
    return float(first - reach), float(third + reach)


def number_sql(name: str, *, bounds: tuple[float, float] | None, constant: float | None) -> str:
    """Return the SQL of a number as a double, within bounds, its gaps filled where a constant is given.

    Spark's ``least`` and ``greatest`` skip nulls and call NaN the greatest number, so a gap would become a
    bound: the comparison is written out.
    """
    value = f"CAST({quoted(name)} AS DOUBLE)"
    if bounds is None and constant is None:
        return f"{value} AS {quoted(number(name))}"
    gap = "CAST(NULL AS DOUBLE)" if constant is None else double(constant)
    cases = f"WHEN {value} IS NULL OR isnan({value}) THEN {gap}"
    if bounds is not None:
        low, high = (double(bound) for bound in bounds)
        cases += f" WHEN {value} < {low} THEN {low} WHEN {value} > {high} THEN {high}"
    return f"CASE {cases} ELSE {value} END AS {quoted(number(name))}"


def imputation_of(name: str, impute: Impute) -> Imputation:
    """Return how a feature's gaps are filled: by the first of its patterns that matches, or as all are."""
    for pattern, own in impute.features.items():
        if select_names([pattern], [name]):
            return own
    return impute


def products(
    spec: PreparationSpec, numbers: Sequence[str], *, dropped: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the products to add, each with its factors: interactions, then powers and products by degree.

    A product of a feature that was left out is left out as well.

    Raises:
        ConfigError: a factor is no numeric feature, or there would be more than 2,000 products.
    """
    found: dict[str, tuple[str, ...]] = {}
    for factors in spec.interactions:
        _check_numeric(factors, [*numbers, *dropped])
        if not set(factors) & set(dropped):
            found[_named(factors)] = factors
    if spec.polynomial is not None:
        bases = resolve_features(
            spec.polynomial.features, [*numbers, *dropped], what="preparation.polynomial"
        )
        kept = [name for name in bases if name not in dropped]
        for degree in range(2, spec.polynomial.degree + 1):
            for factors in combinations_with_replacement(kept, degree):
                found.setdefault(_named(factors), factors)
                if len(found) > _MOST_TERMS:
                    raise ConfigError(
                        f"preparation.polynomial: more than {_MOST_TERMS:,} products of {len(kept)} features",
                        f"at most {_MOST_TERMS:,}",
                        "lower the degree, or name fewer features",
                    )
    return found


def product_sql(name: str, factors: Sequence[str]) -> str:
    """Return the SQL of a product of prepared numbers."""
    return f"{' * '.join(quoted(number(factor)) for factor in factors)} AS {quoted(number(name))}"


def scaling_sql(name: str, values: Floats, *, scale: Literal["min_max", "robust"]) -> str:
    """Return the SQL of a number less its minimum by its range, or less its median by that of its quartiles.

    A range of 0 counts as 1, as in scikit-learn: a feature that hardly varies keeps what it says.
    """
    if scale == "min_max":
        low, reach = float(values.min()), float(values.max() - values.min())
    else:
        first, low, third = (float(value) for value in np.quantile(values, [0.25, 0.5, 0.75]))
        reach = third - first
    return f"({quoted(number(name))} - {double(low)}) / {double(reach or 1.0)} AS {quoted(scaled(name))}"


def _named(factors: Sequence[str]) -> str:
    counts: Mapping[str, int] = {factor: list(factors).count(factor) for factor in factors}
    return "*".join(name if power == 1 else f"{name}^{power}" for name, power in counts.items())


def _check_numeric(factors: Sequence[str], numbers: Sequence[str]) -> None:
    for factor in factors:
        if factor not in numbers:
            raise ConfigError(
                f"preparation.interactions: {factor!r} is no numeric feature of the model",
                f"one of {', '.join(numbers)}",
                "correct the name, or take the interaction out",
            )
