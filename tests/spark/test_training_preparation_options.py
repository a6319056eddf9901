from __future__ import annotations

import numpy as np
import pytest
from pyspark.ml import PipelineModel
from pyspark.sql import functions as F

from featurelib.errors import ConfigError, FrameError
from featurelib.preparation_specs import (
    Clusters,
    Encode,
    Imputation,
    Impute,
    Outliers,
    Pca,
    Polynomial,
    PreparationSpec,
    Select,
    TargetEncoding,
    Unstable,
)
from featurelib.training.preparation import ROW_HASH, VECTOR, Plan, fit_preparation

SCHEMA = "id long, at string, place string, a double, b double, label double"
ROWS = [
    (1, "2013-01-01", "x", 1.0, 10.0, 0.0),
    (2, "2013-01-02", "x", 2.0, None, 1.0),
    (3, "2013-01-03", "y", 3.0, 30.0, 1.0),
    (4, "2013-01-04", None, 4.0, 40.0, 0.0),
    (5, "2013-01-05", "y'$ __THIS__", 100.0, 20.0, 1.0),
]
NEVER = (9, "2013-02-01", "z", None, float("nan"), None)


def frame_of(spark, rows):
    """The rows as a frame with instants and a hash, spread over partitions."""
    frame = spark.createDataFrame(rows, SCHEMA).repartition(3)
    return frame.withColumn("as_of_ts", F.to_timestamp("at")).withColumn(ROW_HASH, F.xxhash64("id"))


def fitted(spark, spec, rows=ROWS, *, features=("place", "a", "b"), categorical=("place",), **plan):
    """A preparation of the rows under these options."""
    return fit_preparation(
        frame_of(spark, rows),
        features=features,
        categorical=categorical,
        forms=("tree", "linear"),
        plan=Plan(spec=spec, label="label", as_of="as_of_ts", **plan),
    )


def columns_of(spark, preparation, rows=(*ROWS, NEVER), *, form="tree", in_training=False):
    """The values of each place by the row's id, places by their feature."""
    found = (
        preparation.transform(frame_of(spark, rows), in_training=in_training)
        .select("id", VECTOR[form])
        .collect()
    )
    places = preparation.places[form]
    return {row["id"]: dict(zip(places, row[1].toArray().tolist(), strict=True)) for row in found}


def values(found, name, ids=(1, 2, 3, 4, 5)):
    """One place's values, in the order of ids."""
    return [found[number][name] for number in ids]


def test_gaps_are_filled_by_the_strategy_of_each_feature(spark):
    """Mean, constant and mode as scikit-learn has them; without indicator there is none."""
    spec = PreparationSpec(
        impute=Impute(
            strategy="mean", indicator=False, features={"a": Imputation(strategy="constant", value=-1.0)}
        )
    )
    found = columns_of(spark, fitted(spark, spec))

    assert values(found, "b") == [10.0, 25.0, 30.0, 40.0, 20.0]
    assert found[9] == {"place": 3.0, "a": -1.0, "b": 25.0}
    more = [*ROWS, (6, "2013-01-06", "x", 4.0, 40.0, 0.0)]
    mode = fitted(spark, PreparationSpec(impute=Impute(strategy="mode", indicator=False)), more)
    assert columns_of(spark, mode)[9] == {"place": 3.0, "a": 4.0, "b": 40.0}


def test_outliers_are_moved_to_bounds_learnt_from_training_rows(spark):
    """A gap stays a gap, whatever Spark's least and greatest make of null and NaN; scoring rows obey as well."""
    spec = PreparationSpec(outliers=Outliers(method="winsorize", bounds=(0.1, 0.9), features=("a",)))
    low, high = np.quantile([1, 2, 3, 4, 100], [0.1, 0.9])
    preparation = fitted(spark, spec)
    found = columns_of(spark, preparation, [*ROWS, (7, "2014-01-01", "x", 1e9, 1.0, None), NEVER])

    assert values(found, "a") == pytest.approx(np.clip([1, 2, 3, 4, 100], low, high), abs=1e-9)
    assert found[7]["a"] == pytest.approx(high, abs=1e-9)
    assert found[9]["a"] == pytest.approx(3.0)


def test_target_encoding_of_a_training_row_comes_from_earlier_rows(spark):
    """By hand: parts of one day each; a row never sees its own label, scoring rows see all labels."""
    encode = Encode(default="target", target=TargetEncoding(smoothing=1.0, folds=5))
    preparation = fitted(spark, PreparationSpec(encode=encode), is_train="label IS NOT NULL")
    learnt = columns_of(spark, preparation, in_training=True)
    scored = columns_of(spark, preparation)

    # Before row 2: one row (0), prior 0. Before 3: labels 0, 1, y unseen. Before 4: null is the prior 2/3.
    assert values(learnt, "place") == pytest.approx([0.6, (0 + 0) / 2, 1 / 2, 2 / 3, 1 / 2], abs=1e-12)
    assert values(scored, "place") == pytest.approx(
        [(1 + 0.6) / 3, (1 + 0.6) / 3, (1 + 0.6) / 2, 0.6, (1 + 0.6) / 2], abs=1e-12
    )
    assert learnt[9]["place"] == scored[9]["place"] == pytest.approx(0.6)


def test_a_later_label_does_not_change_an_earlier_encoding(spark):
    """The last rows' labels are turned round; encodings of the training rows before them stay."""
    encode = Encode(default="target", target=TargetEncoding(smoothing=1.0, folds=5))
    turned = [*ROWS[:3], (*ROWS[3][:5], 1.0), (*ROWS[4][:5], 0.0)]

    def learnt(rows):
        preparation = fitted(spark, PreparationSpec(encode=encode), rows)
        return values(columns_of(spark, preparation, rows, in_training=True), "place", (2, 3, 4))

    assert learnt(ROWS) == learnt(turned)


def test_ordinal_is_the_alphabetical_place_for_both_forms(spark):
    """Null and unseen ones come last; text that SQL could read stays text."""
    preparation = fitted(spark, PreparationSpec(encode=Encode(default="ordinal"), scale="none"))

    for form in ("tree", "linear"):
        found = columns_of(spark, preparation, form=form)
        assert values(found, "place", (1, 2, 3, 4, 5, 9)) == [0.0, 0.0, 1.0, 3.0, 2.0, 3.0]


@pytest.mark.parametrize("scale", ["min_max", "robust"])
def test_ranges_and_quartiles_are_those_of_scikit_learn(spark, scale):
    """Linear models see what scikit-learn's scalers make of the filled training rows, to 1e-9."""
    from sklearn.preprocessing import MinMaxScaler, RobustScaler

    filled = np.array([[1, 10], [2, 20], [3, 30], [4, 40], [100, 20]], dtype=float)
    expected = (MinMaxScaler() if scale == "min_max" else RobustScaler()).fit_transform(filled)
    spec = PreparationSpec(scale=scale, impute=Impute(indicator=False))
    preparation = fitted(spark, spec, features=("a", "b"), categorical=())
    found = columns_of(spark, preparation, form="linear")

    assert pytest.approx(expected, abs=1e-9) == np.array([values(found, "a"), values(found, "b")]).T
    assert values(columns_of(spark, preparation), "a") == [1.0, 2.0, 3.0, 4.0, 100.0]


def test_products_are_those_of_scikit_learn(spark):
    """Powers and products up to degree 3, each under its name; a lift step has one if it has its factors."""
    from sklearn.preprocessing import PolynomialFeatures

    rows = [(*row[:4], row[4] or 20.0, row[5]) for row in ROWS]
    spec = PreparationSpec(polynomial=Polynomial(degree=3, features=("a", "b")), interactions=(("a", "b"),))
    preparation = fitted(spark, spec, rows, features=("a", "b"), categorical=())
    found = columns_of(spark, preparation, rows)
    names = ["a", "b", "a^2", "a*b", "b^2", "a^3", "a^2*b", "a*b^2", "b^3"]
    expected = PolynomialFeatures(3, include_bias=False).fit_transform([row[3:5] for row in rows])

    assert set(preparation.places["tree"]) == set(names)
    assert pytest.approx(expected, rel=1e-12) == np.array([values(found, name) for name in names]).T
    assert {preparation.places["tree"][place] for place in preparation.places_of(["a"], form="tree")} == {
        "a",
        "a^2",
        "a^3",
    }


def test_components_are_those_of_scikit_learn(spark):
    """Principal components of the standardized numbers, up to their sign, stand for the numbers."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    rows = [(*row[:4], row[4] or 20.0, row[5]) for row in ROWS]
    preparation = fitted(spark, PreparationSpec(pca=Pca(k=2)), rows)
    found = columns_of(spark, preparation, rows)
    numbers = StandardScaler().fit_transform([row[3:5] for row in rows]) * np.sqrt(
        4 / 5
    )  # by n - 1, as Spark
    expected = PCA(2).fit_transform(numbers)
    ours = np.array([values(found, "component_1"), values(found, "component_2")]).T

    assert np.abs(ours) == pytest.approx(np.abs(expected), abs=1e-9)
    assert preparation.places["tree"] == ("place", "component_1", "component_2")


def test_what_selection_leaves_out_has_its_reason(spark):
    """A constant, a twin, a feature that shifts and an unimportant one go; each says why."""
    draw = np.random.default_rng(3)
    signal, noise = draw.normal(size=200), draw.normal(size=200)
    rows = [
        (
            n,
            f"2013-01-{1 + n // 10:02d}",
            "x",
            float(signal[n]),
            float(noise[n]),
            float(signal[n] + draw.normal() > 0),
        )
        for n in range(200)
    ]
    schema = f"{SCHEMA}, twin double, shifts double, same double"
    wide = [(*row, row[3] * 2 + 1, float(row[0] // 100), 5.0) for row in rows]
    frame = spark.createDataFrame(wide, schema).withColumn("as_of_ts", F.to_timestamp("at"))
    preparation = fit_preparation(
        frame.withColumn(ROW_HASH, F.xxhash64("id")),
        features=("place", "a", "b", "twin", "shifts", "same"),
        categorical=("place",),
        forms=("tree",),
        plan=Plan(
            spec=PreparationSpec(select=Select(correlation=0.95, unstable=Unstable(psi=0.5), top=1)),
            label="label",
            as_of="as_of_ts",
        ),
    )

    assert preparation.features == ("a",)
    assert preparation.reasons["place"] == "its value is x in every training row"
    assert preparation.reasons["same"] == "its value is 5.0 in every training row"
    assert preparation.reasons["twin"] == "correlation 1.0000 with a is above 0.95"
    assert preparation.reasons["shifts"].startswith("its distribution shifts: stability index ")
    assert preparation.reasons["b"].endswith("not among the first 1")


def test_nothing_left_and_wrong_names_are_refused(spark):
    """All features constant, and options that name no numeric feature, end before anything is fitted."""
    same = [(*row[:2], "x", 1.0, 1.0, row[5]) for row in ROWS]
    with pytest.raises(FrameError, match="no feature is left: place: its value is x"):
        fitted(spark, PreparationSpec(), same)
    with pytest.raises(ConfigError, match="'place' is no numeric feature"):
        fitted(spark, PreparationSpec(interactions=(("a", "place"),)))
    with pytest.raises(ConfigError, match="3 components of 2 numeric features"):
        fitted(spark, PreparationSpec(pca=Pca(k=3)))


def test_a_saved_preparation_repeats_every_option(spark, tmp_path):
    """Spark's own stages hold all that was fitted: what is loaded gives the same vectors."""
    spec = PreparationSpec(
        impute=Impute(strategy="mean"),
        outliers=Outliers(method="iqr"),
        scale="robust",
        encode=Encode(default="target"),
        interactions=(("a", "b"),),
        pca=Pca(k=1, keep=True),
    )
    preparation = fitted(spark, spec)
    PipelineModel(stages=preparation.stages("tree", "linear")).save(f"{tmp_path}/saved")
    loaded = PipelineModel.load(f"{tmp_path}/saved").transform(frame_of(spark, [*ROWS, NEVER]))

    both = list(VECTOR.values())
    expected = preparation.transform(frame_of(spark, [*ROWS, NEVER])).select("id", *both)

    assert sorted(loaded.select("id", *both).collect()) == sorted(expected.collect())


def test_distances_to_clusters_are_those_of_the_training_rows(spark, tmp_path):
    """Two far groups have their means as centres, in deviations; saved stages give a row that was never seen the same."""
    rows = [
        (
            number,
            f"2013-01-{1 + number % 9:02d}",
            "x",
            10.0 * (number % 2) + number / 100,
            5.0 * (number % 2),
            0.0,
        )
        for number in range(1, 41)
    ]
    spec = PreparationSpec(clusters=Clusters(features=("a", "b"), k=2), impute=Impute(indicator=False))
    preparation = fitted(spark, spec, rows)
    assert preparation.parts == {"cluster_1": ("a", "b"), "cluster_2": ("a", "b")}
    assert preparation.places_of(["a"], form="tree") == [preparation.places["tree"].index("a")]

    given = np.array([row[3:5] for row in rows])
    scaled = (given - given.mean(axis=0)) / given.std(axis=0, ddof=1)
    even = given[:, 1] == 0
    centres = [scaled[even].mean(axis=0), scaled[~even].mean(axis=0)]
    unseen = (99, "2013-02-01", "x", 7.0, 1.0, None)
    found = columns_of(spark, preparation, (*rows, unseen))
    point = (np.array([7.0, 1.0]) - given.mean(axis=0)) / given.std(axis=0, ddof=1)
    for name, centre in zip(("cluster_1", "cluster_2"), centres, strict=True):
        assert found[99][name] == pytest.approx(np.linalg.norm(point - centre), rel=1e-9)
        assert found[1][name] == pytest.approx(np.linalg.norm(scaled[0] - centre), rel=1e-9)

    PipelineModel(stages=preparation.stages("linear")).write().save(str(tmp_path / "saved"))
    loaded = PipelineModel.load(str(tmp_path / "saved"))
    frame = frame_of(spark, [unseen])
    both = [model.transform(frame).first()[VECTOR["linear"]] for model in (
        PipelineModel(stages=preparation.stages("linear")), loaded)]  # fmt: skip
    assert both[0] == both[1]


def test_more_clusters_than_different_rows_are_refused(spark):
    """Five rows of two values have no eight centres; neither has a pattern that no number has."""
    rows = [(one, f"2013-01-0{one}", "x", float(one % 2), 1.0 + one, 0.0) for one in range(1, 6)]
    with pytest.raises(FrameError, match=r"8 clusters of rows that have 2 different values"):
        fitted(spark, PreparationSpec(clusters=Clusters(features=("a",))), rows)
    with pytest.raises(ConfigError, match=r"preparation\.clusters"):
        fitted(spark, PreparationSpec(clusters=Clusters(features=("nowhere",))), rows)
