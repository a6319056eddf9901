"""What a model's search may be asked for is refused where it is written."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from featurelib.config import spec_hash
from featurelib.specs import EstimatorSpec, Folds, Gate, LiftStep, ModelSpec, SearchRange, Tuning


def model(tuning, **space):
    """A model of one forest."""
    return ModelSpec(
        features=("a",),
        baseline=LiftStep(name="a", features=("a",)),
        estimators={"boosted": EstimatorSpec(kind="gradient_boosted_trees", space=space)},
        tuning=tuning,
        gate=Gate(minimum=0.5),
    )


def test_a_grid_over_a_continuous_range_is_refused_by_name():
    """A grid needs values: the range is named, and so are the ways out."""
    rates = SearchRange(uniform=(0.1, 0.3))
    with pytest.raises(ValidationError, match=r"boosted\.learning_rate: give each range steps"):
        model(Tuning(algorithm="grid"), learning_rate=rates, trees=SearchRange(integer=(2, 4)))

    model(Tuning(algorithm="grid"), learning_rate=SearchRange(uniform=(0.1, 0.3), steps=3))
    model(Tuning(algorithm="tpe"), learning_rate=rates)


def test_rungs_of_iterations_need_their_number():
    """Without trees there is nothing to take a share of."""
    tuning = Tuning(rungs=(0.3,), rungs_of="iterations")
    with pytest.raises(ValidationError, match="boosted gives neither"):
        model(tuning, max_depth=SearchRange(integer=(2, 4)))

    model(tuning, trees=SearchRange(integer=(20, 40)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"backend": "optuna", "algorithm": "anneal"}, "optuna has no algorithm anneal"),
        ({"rungs": (0.5, 0.1)}, "rungs must rise"),
        ({"rungs": (0.5, 1.0)}, "less than 1"),
        ({"max_seconds": float("inf")}, "finite"),
        ({"budget": 0}, "greater than 0"),
        ({"folds": {"kind": "group"}}, "name the column under group"),
        ({"folds": {"kind": "expanding", "group": "origin"}}, "name the column under group"),
        ({"folds": {"kind": "stratified", "embargo": "1d"}}, "know no time"),
        ({"folds": {"kind": "expanding", "count": 1}}, "greater than or equal to 2"),
    ],
)
def test_what_cannot_be_is_refused(given, said):
    """Each contradiction is an error that says which."""
    with pytest.raises(ValidationError, match=said):
        Tuning.model_validate(given)


def test_steps_of_a_choice_are_refused():
    """A choice is a list of values already."""
    with pytest.raises(ValidationError, match="a choice is a list of values already"):
        SearchRange(choice=(1, 2), steps=2)


def test_keys_at_their_defaults_make_no_other_model():
    """A model registered before these keys were there is the same model; one that uses them is another."""
    assert Tuning().model_dump() == {
        "trials": 12,
        "parallelism": 2,
        "metric": "roc_auc",
        "seed": 7,
        "sample": 1.0,
    }
    assert spec_hash(Tuning()) == spec_hash(Tuning(algorithm="tpe", rungs=(), folds=None))
    assert spec_hash(Tuning()) != spec_hash(Tuning(folds=Folds(kind="expanding", embargo="1d")))
    assert spec_hash(Tuning()) != spec_hash(Tuning(no_progress=5))
