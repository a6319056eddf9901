"""The leak audit counts what known-at changes, and finds the label among the features."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from deltalake import write_deltalake

from featurelib import cli
from featurelib.pipeline.audit_leaks import Audit, as_classes, auc, audit_leaks, rendered
from featurelib.pipeline.polars_frames import spine_of
from featurelib.pipeline.without_spark import features_without_spark
from featurelib.specs import Project
from featurelib.tables import Manifest, Stamp, Store
from featurelib.tables.manifests import append
from featurelib.tables.store import MANIFESTS
from tests.unit.shop_project import FEATURES, PIPELINE, SOURCES
from tests.without_spark.test_without_spark import CUSTOMERS, at, project_in, silver_of

ORDERS = [
    {"order_id": "o1", "customer": "ann", "amount": 60.0, "returned_items": 1, "ordered_ts": at(1), "settled_ts": at(4)},
    {"order_id": "o2", "customer": "ann", "amount": 40.0, "returned_items": 0, "ordered_ts": at(2), "settled_ts": at(3)},
    {"order_id": "o3", "customer": "ann", "amount": 5.0, "returned_items": 0, "ordered_ts": at(5), "settled_ts": at(6)},
    {"order_id": "o4", "customer": "bob", "amount": 5.0, "returned_items": 1, "ordered_ts": at(5), "settled_ts": at(6)},
]  # fmt: skip


def audited(
    folder: Path,
    project: Project,
    rows: int = 100,
    *,
    built_by: Project | None = None,
    label: pl.Series | None = None,
) -> Audit:
    """Publish the orders as training set, its features built by a project, and audit it."""
    silver = silver_of(project, orders=ORDERS, customers=CUSTOMERS)
    returned = pl.Series("returned", [int(order["returned_items"] > 0) for order in ORDERS], dtype=pl.Int32)
    training = spine_of(project, silver("orders", None)).with_columns(returned if label is None else label)
    if built_by is not None:
        training = features_without_spark(built_by, built_by.views, training, silver)
    store = Store(str(folder / "store"))
    write_deltalake(store.path("training.shop"), training.to_arrow(compat_level=pl.CompatLevel.oldest()))
    manifest = Manifest(1, "run", "shop", 1, at(7), {"training.shop": 0})
    append(store.path(MANIFESTS), manifest, stamp=Stamp("run", "shop", 1))
    return audit_leaks(project, store, silver, rows=rows, limit=0.9)


def test_what_known_at_changes_is_counted(tmp_path: Path) -> None:
    """At o2's moment o1 is not settled; event time alone would let it in. o3 sees both either way."""
    audit = audited(tmp_path, project_in(tmp_path))
    assert (audit.rows, audit.of_rows, audit.changed_rows, audit.leaks) == (4, 4, 1, ())
    assert {change.feature: change.rows for change in audit.changes} == {
        "spending__amount_sum_1d": 1,
        "spending__amount_sum_30d": 1,
        "spending__amount_mean_1d": 1,
        "spending__amount_mean_30d": 1,
        "spending__big_last_lifetime": 1,
        "spending__count_7d": 1,
    }
    text = rendered(audit)
    assert "6 features in 1 rows (25.0%) would be different" in text
    assert "no leak" in text


def test_a_sample_says_its_size(tmp_path: Path) -> None:
    """Fewer rows than the training set has are chosen by key."""
    audit = audited(tmp_path, project_in(tmp_path), rows=2)
    assert "training set: 2 of 4 rows, chosen by key" in rendered(audit)


LEAKS = [
    (
        {"shop/pipeline.yaml": PIPELINE.replace("weekday: dayofweek(day)", "weekday: returned_items + 1")},
        "spine column weekday is made of returned_items, which the label is made of",
    ),
    (
        {
            "shop/sources.yaml": SOURCES.replace("    known_ts: settled_ts\n", ""),
            "shop/features.yaml": FEATURES.replace("{input: big,", "{input: returned_items,"),
        },
        "source orders carries returned_items, which the label is made of, and says of 4 rows that they were known before the label",
    ),
    (
        {
            "shop/pipeline.yaml": PIPELINE.replace(
                "as_of_ts: ordered_ts", "as_of_ts: ordered_ts + INTERVAL 2 DAY"
            )
        },
        "the label of 3 rows was known before the moment they are asked about",
    ),
]


@pytest.mark.parametrize(("changed", "leak"), LEAKS)
def test_the_label_is_found(tmp_path: Path, changed: dict[str, str], leak: str) -> None:
    """A column made of the label, a source that knows it too early, a question asked after the answer."""
    audit = audited(tmp_path, project_in(tmp_path, changed))
    assert list(audit.leaks) == [leak]
    assert f"leak: {leak}" in rendered(audit)


NOT_LATE = {"shop/sources.yaml": SOURCES.replace("    known_ts: settled_ts\n", "")}


def test_features_built_of_events_not_yet_known_are_found(tmp_path: Path) -> None:
    """A training set that was built as if orders were settled at once is caught, row by row."""
    project, careless = project_in(tmp_path / "now"), project_in(tmp_path / "then", NOT_LATE)

    fine = audited(tmp_path / "fine", project, built_by=project)
    leaky = audited(tmp_path / "leaky", project, built_by=careless)

    assert (fine.leaks, fine.stale_rows) == ((), 0)
    assert leaky.stale_rows == 1
    assert len(leaky.leaks) == 6
    assert leaky.leaks[0] == (
        "spending__amount_sum_1d holds, in 1 rows of the training set, what was not known at their moments"
    )


def test_features_of_changed_tables_are_stale_not_leaks(tmp_path: Path) -> None:
    """Features that neither definition gives say that the training set is to be built again."""
    other = {"shop/sources.yaml": SOURCES.replace("where: amount IS NOT NULL", "where: amount > 50")}

    audit = audited(tmp_path, project_in(tmp_path / "now"), built_by=project_in(tmp_path / "then", other))

    assert (audit.stale_rows, audit.leaks) == (1, ())
    assert "1 rows hold other features than their definition gives on today's tables" in rendered(audit)


def test_labels_of_many_values_are_audited_by_their_halves() -> None:
    """A number is told by its median, truth by itself."""
    assert as_classes(np.array([0.0, 1.0, 1.0])).tolist() == [0.0, 1.0, 1.0]
    assert as_classes(np.array([-5.0, 0.0, 7.0, 900.0])).tolist() == [0.0, 0.0, 1.0, 1.0]
    delays = np.arange(80.0)
    assert auc(pl.Series(delays * 3), as_classes(delays)) == 1.0


@pytest.mark.parametrize("kind", [pl.Boolean, pl.Int32, pl.Float64])
def test_the_label_may_be_truth_or_a_number(tmp_path: Path, kind: pl.DataType) -> None:
    """Every type that a label has in a table is audited."""
    label = pl.Series("returned", [1, 0, 0, 1]).cast(kind)
    assert audited(tmp_path, project_in(tmp_path), label=label).rows == 4


def test_a_planted_leak_ends_the_command_with_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The label with one value in twenty wrong, known when the order is made: a feature of AUC 0.95 alone."""
    columns = {
        "order_id": [f"o{number}" for number in range(200)],
        "customer": [f"c{number}" for number in range(200)],
        "amount": [float(number % 2 if number % 20 else 1 - number % 2) for number in range(200)],
        "items": [1] * 200,
        "returned_items": [number % 2 for number in range(200)],
        "ordered_ts": [at(2)] * 200,
        "settled_ts": [at(3)] * 200,
        "day": [date(2024, 5, 2)] * 200,
    }
    project = project_in(tmp_path)
    orders = pl.DataFrame(columns, schema_overrides={"items": pl.Int32, "returned_items": pl.Int32})
    early = orders.with_columns(
        ordered_ts=pl.lit(at(1)), settled_ts=pl.lit(at(1)), order_id="e" + pl.col("order_id")
    )
    silver = silver_of(project, orders=[], customers=CUSTOMERS)
    returned = (pl.col("returned_items") > 0).cast(pl.Int32).alias("returned")
    training = spine_of(project, orders).with_columns(orders.select(returned)["returned"])
    store = Store(str(tmp_path / "root"))
    tables = {
        "training.shop": training,
        "silver.orders": pl.concat([orders, early]),
        "silver.customers": silver("customers", None),
    }
    for name, frame in tables.items():
        write_deltalake(store.path(name), frame.to_arrow(compat_level=pl.CompatLevel.oldest()))
    append(
        store.path(MANIFESTS),
        Manifest(1, "run", "shop", 1, at(7), dict.fromkeys(tables, 0)),
        stamp=Stamp("run", "shop", 1),
    )
    command = ["audit-leaks", "--pipeline", project.folder, "-c", f"root={tmp_path / 'root'}"]

    assert cli.run(command) == 4
    told = capsys.readouterr().out
    assert "leak: spending__amount_sum_1d alone has an AUC of 0.950, above 0.9" in told
    assert cli.run([*command, "--max-auc", "0.96"]) == 0
    assert "no leak" in capsys.readouterr().out


def test_auc_of_one_column() -> None:
    """By mid ranks, in either direction; missing values can tell as well; too few rows tell nothing."""
    label = np.array([0.0, 1.0] * 40)
    assert auc(pl.Series(label), label) == 1.0
    assert auc(pl.Series(-label), label) == 1.0
    assert auc(pl.Series([1.0] * 80), label) == 0.5
    assert auc(pl.Series([None if one else 3.0 for one in label]), label) == 1.0
    assert auc(pl.Series(["a"] * 80), label) is None
    assert auc(pl.Series(label[:20]), label[:20]) is None
    half = pl.Series([0.0, 0.0, 0.0, 1.0] * 20)
    assert auc(half, label) == pytest.approx(0.75)


def test_a_feature_too_good_alone_is_a_leak(tmp_path: Path) -> None:
    """The limit is on any column that the model could take."""
    from featurelib.pipeline.audit_leaks import _leaks

    project = project_in(tmp_path)
    silver = silver_of(project, orders=ORDERS, customers=CUSTOMERS)
    found = list(_leaks(project, silver, {"weekday": 0.6, "amount": 0.97}, 0.9))
    assert found == ["amount alone has an AUC of 0.970, above 0.9"]
