"""Two shops, five days, a handful of rows: a whole project whose every touched row can be told by hand.

Each shop has a visit at 10:00 (``A3m`` of day 3, by ann) and one at 20:00 (``A3e``, by bob). Each day shop A sells
to ann at 09:00 and shop B to bob at 12:00, booked an hour later; both read their thermometer at 06:00.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

DAYS = ("2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05")

BASE = """\
root: var/${env}
landing: ${root}/landing
spark: {shuffle_partitions: 2}
tracking: {tracking_uri: "sqlite:///${root}/mlflow.db", artifact_root: "${root}/artifacts"}
"""
PIPELINE = """\
name: cafe
spine:
  table: visits
  key: [visit_id]
  as_of_ts: visited_ts
  columns: {visit_id: visit_id, shop: shop, customer: customer, party: party}
  column_types: {visit_id: string, shop: string, customer: string, party: int}
label: {name: tipped, value: tip > 0, known_ts: paid_ts}
split:
  train: ["2024-01-01", "2024-01-04"]
  validate: ["2024-01-04", "2024-01-05"]
  test: ["2024-01-05", "2024-01-06"]
"""
SOURCES = """\
tables:
  visits:
    landing: visits
    columns: {visit_id: string, shop: string, customer: string, party: int, visited_ts: timestamp_utc, tip: double, paid_ts: timestamp_utc}
  sales:
    landing: sales
    columns: {sale_id: string, shop: string, customer: string, amount: double, sold_ts: timestamp_utc, booked_ts: timestamp_utc, note: string}
  weather:
    landing: weather
    columns: {shop: string, temp: double, read_ts: timestamp_utc}
entities:
  shop: {keys: [shop]}
  customer: {keys: [customer]}
sources:
  sales:
    table: sales
    event_ts: sold_ts
    known_ts: booked_ts
    tie_breaker: [sale_id]
  weather:
    table: weather
    event_ts: read_ts
    known_ts: read_ts + INTERVAL 1 HOUR
"""
FEATURES = """\
views:
  shop_sales:
    entity: shop
    source: sales
    aggregations:
      - {input: amount, ops: [sum, mean], windows: [6h, 2d]}
      - {ops: [count], windows: [2d], by: customer}
  shop_settled:
    entity: shop
    source: sales
    delay: 1h
    boundary: inclusive
    aggregations:
      - {input: amount, ops: [max, last_k], k: 2, windows: [1d]}
  customer_sales:
    entity: customer
    source: sales
    aggregations:
      - {input: amount, ops: [last], windows: [lifetime]}
  shop_weather:
    entity: shop
    source: weather
    latest: {inputs: [temp], max_age: 12h}
derived:
  is_warm: {expression: shop_weather__temp_latest > 15, type: boolean}
"""
MODELS = """\
models:
  tips:
    features: [party, "shop_sales__amount_*"]
    baseline: {name: party, features: [party]}
    estimators:
      trees: {kind: random_forest, parameters: {trees: 2, max_depth: 2}}
    gate: {minimum: 0.0}
"""

FILES: Mapping[str, str] = MappingProxyType(
    {
        "base.yaml": BASE,
        "env/local.yaml": "spark: {master: 'local[2]'}\n",
        "cafe/pipeline.yaml": PIPELINE,
        "cafe/sources.yaml": SOURCES,
        "cafe/features.yaml": FEATURES,
        "cafe/models.yaml": MODELS,
        "cafe/quality.yaml": "rules: {}\n",
    }
)
HEADERS = {
    "visits": "visit_id,shop,customer,party,visited_ts,tip,paid_ts",
    "sales": "sale_id,shop,customer,amount,sold_ts,booked_ts,note",
    "weather": "shop,temp,read_ts",
}


def write_cafe(folder: Path, changed: Mapping[str, str] | None = None) -> Path:
    """Write the project below ``folder``, with some files replaced; return its pipeline folder."""
    for name, text in {**FILES, **(changed or {})}.items():
        path = folder / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "conf" / "cafe"


def land(root: Path, table: str, day: str, *lines: str) -> None:
    """Write the landed file of a table and day."""
    path = root / "landing" / table / f"{day}.csv.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("\n".join([HEADERS[table], *lines, ""]).encode()))


def visits_of(day: str) -> list[str]:
    """The four visits of a day; those of the evening tip."""
    number = int(day[-2:])
    return [
        f"{shop}{number}{part},{shop},{who},{2 + number % 2},{day}T{hour}:00:00Z,{tip},{day}T{hour}:30:00Z"
        for shop in "AB"
        for part, hour, who, tip in (("m", 10, "ann", 0), ("e", 20, "bob", 1))
    ]


def land_day(root: Path, day: str, *, without: str = "") -> None:
    """Land all tables of a day but one."""
    number = int(day[-2:])
    lines = {
        "visits": visits_of(day),
        "sales": [
            f"s{number}A,A,ann,{number}.1,{day}T09:00:00Z,{day}T10:00:00Z,",
            f"s{number}B,B,bob,{number}.7,{day}T12:00:00Z,{day}T13:00:00Z,",
        ],
        "weather": [f"A,{10 + number}.5,{day}T06:00:00Z", f"B,{15 + number}.5,{day}T06:00:00Z"],
    }
    for table in lines.keys() - {without}:
        land(root, table, day, *lines[table])
