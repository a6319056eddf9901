"""A small valid project in literal YAML, and how a test writes it with one thing changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

BASE = """\
root: var/${env}
landing: ${root}/landing
spark:
  app_name: featurelib
  shuffle_partitions: 8
  conf: {}
tracking:
  tracking_uri: sqlite:///${root}/mlflow.db
  artifact_root: ${root}/artifacts
  experiment: ${pipeline}-${env}
"""
LOCAL = """\
spark:
  master: local[*]
"""
PROD = """\
root: ${env:SHOP_ROOT}
secrets:
  mlflow_token: ${secret:env/MLFLOW_TOKEN}
"""
PIPELINE = """\
name: shop
spine:
  table: orders
  key: [order_id]
  as_of_ts: ordered_ts
  columns:
    order_id: order_id
    customer: customer
    weekday: dayofweek(day)
  column_types: {order_id: string, customer: string, weekday: int}
label:
  name: returned
  value: returned_items > 0
  known_ts: settled_ts
split:
  train: ["2024-01-01", "2024-06-01"]
  validate: ["2024-06-01", "2024-07-01"]
  test: ["2024-07-01", "2024-08-01"]
  embargo: 1d
score_from: "2024-07-01"
"""
SOURCES = """\
tables:
  orders:
    landing: orders
    columns:
      order_id: string
      customer: string
      amount: double
      items: int
      returned_items: int
      ordered_ts: timestamp_utc
      settled_ts: timestamp_utc
    transform: prepare:with_day
    transform_adds: {day: date}
    derived:
      per_item: amount / items
      dear: per_item > 100
    derived_types: {per_item: double, dear: boolean}
    unique: [order_id]
  customers:
    landing: customers
    every_day: false
    columns:
      customer: string
      city: string
      joined: int
      changed_ts: timestamp_utc
    unique: [customer]
entities:
  customer: {keys: [customer]}
sources:
  orders:
    table: orders
    event_ts: ordered_ts
    known_ts: settled_ts
    columns: {big: "CASE WHEN amount > 50 THEN 1 ELSE 0 END"}
    column_types: {big: int}
    where: amount IS NOT NULL
    tie_breaker: [order_id]
  customers:
    table: customers
    sql: SELECT customer, joined AS joined_year, city, changed_ts FROM customers WHERE joined > 1990
    event_ts: changed_ts
"""
FEATURES = """\
views:
  spending:
    entity: customer
    source: orders
    aggregations:
      - {input: amount, ops: [sum, mean], windows: [1d, 30d]}
      - {input: big, ops: [last], windows: [lifetime]}
      - {ops: [count], windows: [7d]}
  facts:
    entity: customer
    source: customers
    latest: {inputs: [joined_year], max_age: 400d}
"""
MODELS = """\
models:
  returns:
    features: [weekday, customer, "spending__*", "facts__*"]
    categorical: [customer]
    baseline: {name: calendar, features: [weekday, customer]}
    lift:
      - {name: all, features: ["*"]}
    estimators:
      forest:
        kind: random_forest
        parameters: {trees: 20}
        space:
          max_depth: {integer: [3, 8]}
    tuning:
      trials: 4
    gate:
      mode: enabled
      minimum: 0.6
"""
QUALITY = """\
rules:
  orders:
    - {name: priced, check: amount >= 0}
    - {name: has_items, check: items > 0, on_fail: warn, nulls: pass}
gates:
  orders: {max_quarantined: 0.1}
"""
PREPARE = "def with_day(orders):\n    return orders\n"

FILES: Mapping[str, str] = MappingProxyType(
    {
        "base.yaml": BASE,
        "env/local.yaml": LOCAL,
        "env/prod.yaml": PROD,
        "shop/pipeline.yaml": PIPELINE,
        "shop/sources.yaml": SOURCES,
        "shop/features.yaml": FEATURES,
        "shop/models.yaml": MODELS,
        "shop/quality.yaml": QUALITY,
        "shop/prepare.py": PREPARE,
    }
)


def write_project(folder: Path, changed: Mapping[str, str] | None = None) -> Path:
    """Write the project below ``folder``, with some files replaced; return its pipeline folder."""
    conf = folder / "conf"
    for sub in ("env", "shop"):
        (conf / sub).mkdir(parents=True, exist_ok=True)
    for name, text in {**FILES, **(changed or {})}.items():
        (conf / name).write_text(text, encoding="utf-8")
    return conf / "shop"


@contextmanager
def changed_project(folder: Path, changed: Mapping[str, str]) -> Iterator[Path]:
    """Give a written project's pipeline folder with some files replaced; afterwards it is as before."""
    for name, text in changed.items():
        (folder.parent / name).write_text(text, encoding="utf-8")
    try:
        yield folder
    finally:
        for name in changed:
            (folder.parent / name).write_text(FILES[name], encoding="utf-8")


def mutated(name: str, old: str, new: str) -> dict[str, str]:
    """Return the file with ``old`` replaced once; ``old`` must stand in it exactly once."""
    assert FILES[name].count(old) == 1, f"{old!r} stands {FILES[name].count(old)} times in {name}"
    return {name: FILES[name].replace(old, new)}
