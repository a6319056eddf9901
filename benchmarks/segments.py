"""A hundred models of slices with SHAP values of all test rows: ours, a plain ``applyInPandas``, the ideal.

    python -m benchmarks.segments --times 3

Sizes fall as in Zipf's law from 50,000 rows to 500; the numbers are synthetic and seeded. Each slice is tuned
on its validation rows, fitted again, measured and explained: ours with 64 bins a feature, the plain version
with xgboost's 256; the mean ROC AUC of both is printed. The ideal is what the same fits take one after
another in one process, in CPU seconds, divided by the cores: nothing is read, moved or waited for.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

from benchmarks.measure import HEADER, Contender, compete, said
from benchmarks.session import frame, session
from featurelib.specs import EstimatorSpec, SearchRange, Segments
from featurelib.training.segment_fit import FitSettings, SliceRows, fitted_slice
from featurelib.training.segment_packs import SliceSize, estimated_cost, packed
from featurelib.training.segments import fitted_in_packs

FOLDER = Path("/tmp/featurelib-benchmarks/segments")
PLACES = tuple(f"f{place}" for place in range(40))
LARGEST = 50_000
SEED = 7


def settings_of(trees: int, trials: int) -> FitSettings:
    learner = EstimatorSpec(
        kind="xgboost",
        parameters={"trees": trees},
        space={
            "max_depth": SearchRange(integer=(3, 6)),
            "learning_rate": SearchRange(log_uniform=(0.05, 0.3)),
        },
    )
    segments = Segments(by=("carrier",), min_rows=100, learner=learner, trials=trials, confidence=None)
    return FitSettings(segments, "roc_auc", SEED, PLACES)


def name_of(number: int) -> str:
    return f'["S{number:03d}"]'


def rows_of(number: int) -> tuple[SliceRows, np.ndarray]:
    """A slice's rows: minutes, counts and means, a third of them missing in some columns; its own weights."""
    draw = np.random.default_rng([SEED, number])
    count = LARGEST // (number + 1)
    features = np.column_stack(
        [
            draw.integers(0, 1440, count),
            draw.poisson(20, (count, 9)),
            draw.exponential(30, (count, 15)) - 10,
            draw.normal(size=(count, 15)),
        ]
    ).astype(np.float32)
    gaps = draw.random((count, 15)) < 0.3
    features[:, 10:25] = np.where(gaps, 0.0, features[:, 10:25])
    weights = draw.normal(size=6)
    log_odds = -1.2 + features[:, 25:31] @ weights * 0.5 + (features[:, 12] > 20) * 0.8
    label = (draw.random(count) < 1 / (1 + np.exp(-log_odds))).astype(np.float64)
    place = np.arange(count) % 5
    split = np.where(place < 3, 0, place - 2).astype(np.int8)
    parent = np.where(split == 0, np.nan, label.mean())
    day = (np.arange(count) % 30).astype(np.int32)
    return SliceRows(features, label, split, parent, day), draw.integers(-(2**62), 2**62, count)


def written(slices: int) -> Path:
    """All rows as Parquet, in an order of nobody's."""
    folder = FOLDER / f"{slices}-with-days"
    if folder.exists():
        return folder
    tables = []
    for number in range(slices):
        rows, row_hash = rows_of(number)
        vectors = pa.ListArray.from_arrays(
            np.arange(0, rows.features.size + 1, len(PLACES), dtype=np.int32), rows.features.ravel()
        )
        tables.append(
            pa.table(
                {
                    "segment": pa.repeat(pa.scalar(name_of(number)), len(rows.label)),
                    "row_hash": row_hash,
                    "label": rows.label,
                    "parent": pa.array(rows.parent, from_pandas=True),
                    "vector": vectors,
                    "split": rows.split,
                    "day": rows.day,
                }
            )
        )
    table = pa.concat_tables(tables).sort_by("row_hash")
    folder.mkdir(parents=True)
    part = -(-table.num_rows // 8)
    for number in range(8):
        pq.write_table(table.slice(number * part, part), folder / f"{number}.parquet")
    return folder


def alone(slices: int, settings: FitSettings) -> list[float]:
    """CPU seconds of each slice's fit, one after another in this process."""
    fitted_slice("warm", rows_of(slices - 1)[0], settings)
    return [
        fitted_slice(name_of(number), rows_of(number)[0], settings)[0].cpu_seconds for number in range(slices)
    ]


def plain(pdf: object, trees: int, trials: int, jobs: int | None) -> object:
    """The same work as one writes it for a group: scikit-learn's interface, Hyperopt's ``fmin``, pandas."""
    import hyperopt
    import pandas as pd
    import xgboost
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

    features = np.stack(pdf["vector"].to_numpy())
    label, split = pdf["label"].to_numpy(), pdf["split"].to_numpy()
    train, validate, test = (split == place for place in range(3))

    def model(point: dict) -> object:
        return xgboost.XGBClassifier(
            n_estimators=trees,
            n_jobs=jobs,
            random_state=SEED,
            max_depth=int(point["d"]),
            learning_rate=point["l"],
        )

    def objective(point: dict) -> float:
        fitted = model(point).fit(features[train], label[train])
        return -roc_auc_score(label[validate], fitted.predict_proba(features[validate])[:, 1])

    space = {
        "d": hyperopt.hp.uniformint("d", 3, 6),
        "l": hyperopt.hp.loguniform("l", np.log(0.05), np.log(0.3)),
    }
    best = hyperopt.fmin(
        objective,
        space,
        hyperopt.tpe.suggest,
        trials,
        rstate=np.random.default_rng(SEED),
        show_progressbar=False,
        verbose=False,
    )
    kept = model(best).fit(features[~test], label[~test])
    scores = kept.predict_proba(features[test])[:, 1]
    contributions = kept.get_booster().predict(
        xgboost.DMatrix(features[test], nthread=jobs), pred_contribs=True
    )
    metrics = [
        measure(label[test], scores)
        for measure in (roc_auc_score, average_precision_score, log_loss, brier_score_loss)
    ]
    return pd.DataFrame(
        {
            "segment": [pdf["segment"].iloc[0]],
            "metrics": [metrics],
            "contributions": [np.abs(contributions[:, :-1]).mean(axis=0).tolist()],
            "booster": [bytes(kept.get_booster().save_raw("ubj"))],
        }
    )


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--slices", type=int, default=100)
    given.add_argument("--trees", type=int, default=40)
    given.add_argument("--trials", type=int, default=3)
    given.add_argument("--cores", type=int, default=2)
    given.add_argument("--times", type=int, default=1)
    asked = given.parse_args()
    settings, folder = settings_of(asked.trees, asked.trials), written(asked.slices)
    single = alone(asked.slices, settings)
    ideal = sum(single) / asked.cores
    spark = session(asked.cores, memory="2g", partitions=200)
    rows = frame(spark, folder)
    total = sum(LARGEST // (number + 1) for number in range(asked.slices))

    def packs(names: range) -> list[list[str]]:
        counts = {name_of(number): LARGEST // (number + 1) for number in names}
        costs = {
            name: estimated_cost(
                SliceSize(rows * 3 // 5, rows // 5, rows // 5), settings.segments, places=len(PLACES)
            )
            for name, rows in counts.items()
        }
        return packed(costs, slots=asked.cores, rows=counts, most_rows=3_000_000)

    in_fits: list[float] = []
    aucs: dict[str, float] = {}

    def ours(names: range = range(asked.slices)) -> None:
        found = (
            fitted_in_packs(rows, packs(names), settings).select("segment", "outcome", "booster").collect()
        )
        outcomes = [json.loads(row["outcome"]) for row in found]
        in_fits.append(sum(outcome["cpu_seconds"] for outcome in outcomes))
        aucs["ours"] = statistics.fmean(outcome["test"]["roc_auc"] for outcome in outcomes)
        failed = [outcome for outcome in outcomes if outcome["state"] != "own"]
        if failed or len(found) != len(names):
            raise SystemExit(f"{len(found)} of {len(names)} slices, {failed[:1]}")

    trees, trials = asked.trees, asked.trials

    def grouped(jobs: int | None = None, wanted: int = asked.slices) -> None:
        chosen = rows.where(rows["segment"] >= name_of(asked.slices - wanted))
        fitted = chosen.groupBy("segment").applyInPandas(
            lambda pdf: plain(pdf, trees, trials, jobs),
            "segment string, metrics array<double>, contributions array<double>, booster binary",
        )
        collected = fitted.collect()
        if len(collected) != wanted:
            raise SystemExit("a slice is lost")
        aucs["applyInPandas"] = statistics.fmean(row["metrics"][0] for row in collected)

    ours(range(asked.slices - 2, asked.slices))  # workers import xgboost once, for both
    grouped(wanted=2)
    work = f"{asked.trials} trials of {asked.trees} trees, SHAP of {total // 5:,} rows"
    place = f"{asked.cores} cores, load {os.getloadavg()[0]:.1f}"
    print(f"# {said('benchmarks.segments')}\n")
    print(f"{asked.slices} slices, {total:,} rows, {len(PLACES)} features, {work}; {place}\n")
    print(HEADER)
    results = compete(
        [
            Contender("featurelib, packed", ours),
            Contender("applyInPandas, as it comes", grouped),
            Contender("applyInPandas, one thread a model", partial(grouped, 1)),
        ],
        times=asked.times,
        spine=total,
        spark=spark,
    )
    ours_, *others = results
    cpu, alone_cpu = statistics.median(ours_.cpu), sum(single)
    print(f"\nalone in one process: {alone_cpu:.1f} CPU s; the ideal on {asked.cores} cores: {ideal:.1f} s")
    by_clock, by_cpu = ideal / ours_.median, alone_cpu / cpu
    print(f"share of the ideal: {by_clock:.2f} by the clock, {by_cpu:.2f} by CPU seconds of all processes")
    fits = statistics.median(in_fits[1:])
    print(
        f"of the CPU seconds of all processes {fits:.1f}, {fits / cpu:.2f}, are the fits' own in their tasks"
    )
    for other in others:
        seconds, cpus = ours_.median / other.median, cpu / statistics.median(other.cpu)
        print(f"beside {other.name}: {seconds:.2f}x its time, {cpus:.2f}x its CPU seconds")
    print(f"mean ROC AUC on test rows: {', '.join(f'{name} {auc:.4f}' for name, auc in aucs.items())}")
    spark.stop()


if __name__ == "__main__":
    sys.exit(main())
