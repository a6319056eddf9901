"""Which search a journal belongs to: what is tried and measured decides, not what is done with it."""

from __future__ import annotations

import pytest

from featurelib.pipeline.train import search_journal, submission_id
from featurelib.specs import EstimatorSpec, Gate, SearchRange
from tests.jobs.cafe_project import DAYS
from tests.without_spark.cafe_store import build, land, load, make_training_set, place_in


@pytest.fixture
def place(tmp_path):
    """A café with a training set, and no JVM."""
    return trained_on(tmp_path / "root", rows=20)


def trained_on(root, rows):
    """A café whose training set has so many rows."""
    land(root, DAYS[:2])
    place = place_in(root)
    load(place)
    build(place, range(1, 3))
    make_training_set(place, rows=rows)
    return place


def changed(model, **tuning):
    """The model with other keys of its tuning."""
    return model.model_copy(update={"tuning": model.tuning.model_copy(update=tuning)})


def test_a_journal_is_named_by_what_is_tried(place):
    """Limits, gate and refit keep the journal, so that a search goes on; trials, spaces, data make another."""
    ((name, model),) = place.project.models.items()
    journal = search_journal(place, name, model)
    assert journal.path.parent.parent.name == "searches"
    assert journal.path.parent.name == name

    (learner, spec), *_ = model.estimators.items()
    refitted = {**model.estimators, learner: spec.model_copy(update={"refit": {"max_iter": 99}})}
    for same in (
        changed(model, max_seconds=60.0, budget=2.0, no_progress=3),
        model.model_copy(update={"gate": Gate(minimum=0.99), "description": "other"}),
        model.model_copy(update={"estimators": refitted}),
    ):
        assert search_journal(place, name, same) == journal

    space = {"reg_param": SearchRange(uniform=(0.0, 1.0))}
    other_space = {**model.estimators, learner: EstimatorSpec(kind="logistic_regression", space=space)}
    others = [
        changed(model, trials=model.tuning.trials + 1),
        changed(model, parallelism=model.tuning.parallelism + 1),
        changed(model, seed=99),
        changed(model, rungs=(0.5,)),
        changed(model, backend="optuna"),
        model.model_copy(update={"estimators": other_space}),
        model.model_copy(update={"features": model.features[:1]}),
    ]
    assert len({search_journal(place, name, other).path for other in others} | {journal.path}) == 8


def test_other_data_make_another_search(tmp_path, place):
    """The same model on a training set with other rows begins its search anew."""
    ((name, model),) = place.project.models.items()
    elsewhere = trained_on(tmp_path / "elsewhere", rows=21)

    assert search_journal(place, name, model).search != search_journal(elsewhere, name, model).search
    assert submission_id(place, name, model) != submission_id(elsewhere, name, model)
