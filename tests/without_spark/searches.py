"""Searches whose trials are arithmetic: what is tried is written down, so that a repetition is seen."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from featurelib.specs import EstimatorSpec, SearchRange, Tuning
from featurelib.training.journal import Journal
from featurelib.training.search import TrialSearch
from featurelib.training.tuning import Measured, Searched, Trial

ESTIMATORS = {
    "linear": EstimatorSpec(
        kind="logistic_regression",
        parameters={"max_iter": 5},
        space={"reg_param": SearchRange(log_uniform=(0.001, 1.0))},
    ),
    "forest": EstimatorSpec(
        kind="random_forest",
        space={"trees": SearchRange(integer=(2, 40)), "max_depth": SearchRange(choice=(3, 5))},
    ),
}


def quality(trial: Trial) -> float:
    """A value that every parameter moves, greatest in one place."""
    parameters = trial.parameters
    if trial.estimator == "linear":
        return 0.6 + parameters["reg_param"] / 10
    return 0.9 - abs(parameters["trees"] - 20) / 100 - (parameters["max_depth"] == 3) / 50


def search_in(folder: Path, tuning: Tuning, *, search: str = "this search") -> Searched:
    """Search with a journal in the folder; the numbers of the trials run are added to ``tried``."""

    def objective(trial: Trial) -> Measured:
        with (folder / "tried").open("a", encoding="utf-8") as tried:
            tried.write(f"{trial.number}\n")
        if trial.number == 2:
            raise ValueError("singular matrix")
        return Measured(quality(trial), 0.5)

    journal = Journal(folder / "journal" / "one.jsonl", search)
    return TrialSearch(tuning, journal=journal).search(ESTIMATORS, objective, on_trial=lambda _: None)


def tried(folder: Path) -> list[int]:
    """Return the numbers of the trials that were run, in order."""
    path = folder / "tried"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


if __name__ == "__main__":
    search_in(Path(sys.argv[1]), Tuning.model_validate_json(os.environ["TUNING"]))
