from __future__ import annotations

import numpy as np
import pytest

from featurelib.errors import ModelGateError
from featurelib.preparation_specs import ClassWeights, Outliers, PreparationSpec, Sampling, Select
from featurelib.training.encodings import Counts, edges_of
from featurelib.training.look import Look
from featurelib.training.number_sql import outlier_bounds
from featurelib.training.selection import (
    auc,
    chi_square_p,
    correlation,
    dropped_by,
    refuse_known_label,
    stability_index,
)
from featurelib.training.workshop import weights_of

DRAW = np.random.default_rng(11)


def look_of(label=None, instants=None, categories=None, **numbers):
    """A look at these columns."""
    texts = {name: np.array(values, dtype=object) for name, values in (categories or {}).items()}
    given = {name: np.asarray(values, dtype=float) for name, values in numbers.items()}
    return Look(given, texts, None if label is None else np.asarray(label, dtype=float), instants, True)


def test_the_auc_is_that_of_scikit_learn():
    """Ties count half, to 1e-12."""
    from sklearn.metrics import roc_auc_score

    label, scores = DRAW.integers(0, 2, 500), DRAW.integers(0, 20, 500).astype(float)

    assert auc(scores, label.astype(float)) == pytest.approx(roc_auc_score(label, scores), abs=1e-12)


def test_chi_square_is_that_of_scipy():
    """Pearson's test of a table of counts, a missing text being a value of its own."""
    from scipy.stats import chi2_contingency

    texts = np.array(["a", "b", None, "a", "b", "b", None, "c"] * 9, dtype=object)
    label = DRAW.integers(0, 2, len(texts)).astype(float)
    table = [[((texts == value) & (label == one)).sum() for one in (0, 1)] for value in ("a", "b", "c", None)]

    assert chi_square_p(texts, label) == pytest.approx(
        chi2_contingency(table, correction=False).pvalue, abs=1e-12
    )
    assert chi_square_p(np.array(["a"] * 4, dtype=object), label[:4]) == 1.0


def test_correlation_is_over_rows_with_both():
    """As numpy has it on complete rows; a constant has none."""
    left, right = DRAW.normal(size=50), DRAW.normal(size=50)
    left[3] = right[7] = np.nan
    both = ~(np.isnan(left) | np.isnan(right))

    assert correlation(left, right) == pytest.approx(np.corrcoef(left[both], right[both])[0, 1], abs=1e-12)
    assert correlation(np.ones(5), left[:5]) == 0.0


def test_low_variance_is_that_of_scikit_learn():
    """The features a VarianceThreshold keeps are those that stay, gaps left out of both."""
    from sklearn.feature_selection import VarianceThreshold

    columns = {
        "still": DRAW.normal(0, 0.05, 60),
        "wide": DRAW.normal(0, 2, 60),
        "gappy": DRAW.normal(0, 0.5, 60),
    }
    columns["gappy"][::3] = np.nan
    kept = VarianceThreshold(0.1).fit(np.column_stack(list(columns.values()))).get_support()
    dropped = dropped_by(look_of(**columns), Select(variance=0.1))

    assert [name not in dropped for name in columns] == kept.tolist() == [False, True, True]


def test_a_shift_in_time_is_found_by_hand():
    """All below the median first, all above it later: nine of ten shares move; the same rows give 0."""
    earlier, later = np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 3, 4])
    texts = np.array(["a", "b"], dtype=object), np.array(["b", "b"], dtype=object)
    floor = 1e-4

    assert stability_index(earlier, later) == 0.0
    assert stability_index(*texts) == pytest.approx(
        (floor - 0.5) * np.log(floor / 0.5) + (1 - 0.5) * np.log(1 / 0.5), abs=1e-12
    )
    assert stability_index(np.array([1.0, np.nan]), np.array([1.0, 1.0])) > 1


@pytest.mark.parametrize(
    "leak",
    [
        lambda label: label * 3.0,
        lambda label: -label + DRAW.normal(0, 0.01, len(label)),
        lambda label: np.where(label == 1, 5.0, np.nan),
    ],
    ids=["copy", "turned and noisy", "given only where it happened"],
)
def test_a_feature_that_knows_the_label_is_refused_by_name(leak):
    """A copy, its negative, and one that is missing exactly where nothing happened; allowed by name only."""
    label = DRAW.integers(0, 2, 300).astype(float)
    look = look_of(label, honest=label + DRAW.normal(0, 1, 300), leaky=leak(label))

    with pytest.raises(ModelGateError, match=r"1 of the features .*leaky .*\n.*\n.*known_label_ok"):
        refuse_known_label(look, binary=True, allowed=())
    refuse_known_label(look, binary=True, allowed=("leaky",))


def test_a_category_that_knows_the_label_is_refused_but_not_an_identity():
    """One text a class tells it; a text a row tells nothing of the other rows."""
    label = DRAW.integers(0, 2, 300).astype(float)
    telling = ["late" if one else "in time" for one in label]
    identity = [f"row {number}" for number in range(300)]

    refuse_known_label(look_of(label, categories={"id": identity}), binary=True, allowed=())
    with pytest.raises(ModelGateError, match=r"status \(ROC AUC 1\.0000\)"):
        refuse_known_label(
            look_of(label, categories={"id": identity, "status": telling}), binary=True, allowed=()
        )


def test_few_rows_give_no_verdict_and_numbers_are_held_by_rank():
    """Ten rows of a class may be told by chance; of a number, any rising function of it knows it."""
    few = np.array([0.0] * 10 + [1.0] * 10)
    refuse_known_label(look_of(few, lucky=few), binary=True, allowed=())
    label = DRAW.normal(size=300)
    with pytest.raises(ModelGateError, match=r"grown \(correlation 1\.0000\)"):
        refuse_known_label(
            look_of(label, grown=np.exp(label * 3), other=label + DRAW.normal(size=300)),
            binary=False,
            allowed=(),
        )


def test_bounds_are_numpys():
    """Gaps count for nothing; fewer than two values give no bounds."""
    values = np.array([1.0, 2, 3, 4, 100, np.nan])

    assert outlier_bounds(values, Outliers(method="iqr")) == (-1.0, 7.0)
    assert outlier_bounds(values, Outliers(method="winsorize", bounds=(0.0, 0.5))) == (1.0, 3.0)
    assert outlier_bounds(values, Outliers(method="cap", bounds=(2, 50))) == (2.0, 50.0)
    assert outlier_bounds(values, Outliers(method="zscore", bounds=(1,))) == pytest.approx(
        (22 - np.std(values[:5], ddof=1), 22 + np.std(values[:5], ddof=1)), abs=1e-9
    )
    assert outlier_bounds(np.array([np.nan, 2.0]), Outliers(method="zscore")) is None


def test_edges_keep_rows_of_one_instant_together():
    """Four parts of equal rows; where one instant holds most rows there are fewer parts, never an empty one."""
    assert edges_of([1, 2, 3, 4, 5, 6, 7, 8], 4) == (2, 4, 6)
    assert edges_of([1, 1, 1, 1, 1, 9], 4) == (1,)
    assert edges_of([5, 5, 5], 4) == ()


def test_an_encoding_is_drawn_to_the_mean_of_all():
    """(sum + smoothing * mean) / (rows + smoothing), by hand; before the first part only the mean is known."""
    counts = Counts(
        parts=({"place": {"x": (2, 1.0)}}, {"place": {"x": (1, 1.0), "y": (1, 0.0)}}),
        totals=((2, 1.0), (2, 1.0)),
        edges=(10,),
    )

    assert counts.means("place", smoothing=2.0) == ({"x": (2 + 2 * 0.5) / 5, "y": (0 + 1) / 3}, 0.5)
    assert counts.means("place", smoothing=2.0, before=1) == ({"x": (1 + 1) / 4}, 0.5)
    assert counts.means("place", smoothing=2.0, before=0) == ({}, 0.5)


def test_balanced_weights_are_those_of_scikit_learn():
    """Rows / (2 * rows of the class); sampled negatives weigh more by the share that is left; given ones stand."""
    from sklearn.utils.class_weight import compute_class_weight

    label = np.array([0] * 8 + [1] * 2)
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=label)
    balanced = PreparationSpec(class_weights="balanced")
    given = PreparationSpec(
        class_weights=ClassWeights(negative=1.0, positive=4.0), sampling=Sampling(negatives=0.5)
    )

    assert weights_of(balanced, positive=0.2) == pytest.approx(tuple(expected), abs=1e-12)
    assert weights_of(given, positive=0.2) == (2.0, 4.0)
    assert weights_of(PreparationSpec(), positive=0.2) is None
