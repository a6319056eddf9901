"""The steps by name, and the pipeline that runs them one after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from featurelib.pipeline.build_features import build_features
from featurelib.pipeline.build_training_set import build_training_set
from featurelib.pipeline.context import Context, StepResult
from featurelib.pipeline.ingest import ingest
from featurelib.pipeline.maintain import maintain
from featurelib.pipeline.monitor import monitor
from featurelib.pipeline.records import recorded
from featurelib.pipeline.report import write_report
from featurelib.pipeline.score import score
from featurelib.pipeline.train import train
from featurelib.registry.tracker import import_mlflow
from featurelib.threads import begin

Step = Callable[..., StepResult]

STEPS: Mapping[str, Step] = MappingProxyType(
    {
        "ingest": ingest,
        "build_features": build_features,
        "build_training_set": build_training_set,
        "train": train,
        "score": score,
        "monitor": monitor,
        "maintain": maintain,
    }
)
PIPELINE = ("ingest", "build_features", "build_training_set", "train", "score", "monitor")


def run_step(context: Context, name: str, **options: object) -> StepResult:
    """Run one step, with the options that it takes, under the user's eyes and record it."""
    with context.progress.stage(name.replace("_", " ")) as stage:
        result = recorded(context, name, lambda: STEPS[name](context, **options))
        stage.summary = result.summary
    return result


def run_pipeline(context: Context, *, steps: tuple[str, ...] = PIPELINE) -> list[StepResult]:
    """Run the steps in order and write the report; each does only what is left to do."""
    begin(import_mlflow)
    results = [run_step(context, name) for name in steps]
    with context.progress.stage("report") as stage:
        stage.summary = str(write_report(context, results))
    return results
