"""The leak audit counts what known-at changes, and finds the label among the features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from deltalake import write_deltalake

from featurelib.pipeline.audit_leaks import Audit, auc, audit_leaks, rendered
from featurelib.pipeline.polars_frames import spine_of
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


def audited(folder: Path, project: Project, rows: int = 100) -> Audit:
    """Publish the orders as training set of the project, and audit it."""
    silver = silver_of(project, orders=ORDERS, customers=CUSTOMERS)
    label = pl.Series("returned", [int(order["returned_items"] > 0) for order in ORDERS], dtype=pl.Int32)
    training = spine_of(project, silver("orders", None)).with_columns(label)
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
    assert "no label leak" in text


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
    assert f"label leak: {leak}" in rendered(audit)


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
