"""The parts of a run's page, as the plain values that they are read from and written to JSON as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired

from typing_extensions import TypedDict  # pydantic refuses typing's before Python 3.12


class Stage(TypedDict):
    """A step of the run, with what it did in one sentence."""

    name: str
    summary: str
    seconds: float
    rows: NotRequired[int | None]


class Ingest(TypedDict):
    """What a landed table took in: rows in are the passed and the quarantined, each row once."""

    table: str
    files: int
    rows_in: int
    passed: int
    quarantined: int
    reasons: Mapping[str, int]


class View(TypedDict):
    """A feature view and the columns it gives."""

    view: str
    entity: str
    source: str
    features: Sequence[str]
    windows: Sequence[str]


class Evaluation(TypedDict):
    """The chosen model on the test rows; the curves are lists of points."""

    rows: int
    positives: int
    roc_auc: float | None
    pr_auc: float | None
    log_loss: float
    brier: float
    threshold: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    roc: Sequence[Sequence[float]]
    precision_recall: Sequence[Sequence[float]]
    calibration: Sequence[Sequence[float]]


class Numbers(TypedDict):
    """A predicted number on the test rows; ``calibration`` and ``residuals`` as the review has them."""

    rows: int
    rmse: float
    mae: float
    r2: float | None
    mape: float | None
    bias: float
    calibration: Sequence[Sequence[float]]
    residuals: Sequence[Sequence[float]]
    quantiles: Mapping[str, float]


class Scores(TypedDict):
    """What is reached, by an estimator for one: areas of classes, or errors of numbers."""

    roc_auc: float | None
    pr_auc: float | None
    r2: NotRequired[float | None]
    rmse: NotRequired[float | None]


class Lift(Scores):
    """What a set of features (or so many) is worth on the test rows; the first row is the baseline."""

    name: str
    features: int | Sequence[str]


class Trial(TypedDict):
    """One fit of the search and its validation metric, absent where the fit failed."""

    number: int
    estimator: str
    parameters: Mapping[str, Any]
    value: float | None
    seconds: float | None
    state: str
    reason: NotRequired[str]


class Smaller(TypedDict):
    """A model made smaller, beside the one it was made of, on the validation rows."""

    estimator: str
    made_of: str
    metric: str
    value: float
    value_before: float
    seconds: float
    seconds_before: float


class Slice(TypedDict):
    """A slice, and what its own model and the parent reach on its test rows."""

    segment: str
    state: str
    train_rows: int
    test_rows: int
    roc_auc: float | None
    parent_roc_auc: float | None
    first_feature: str | None
    reason: str


class GateResult(TypedDict):
    """Whether the model may become champion, and why."""

    passed: bool
    mode: str
    reasons: Sequence[str]


class Model(TypedDict):
    """The registered model, by the bytes it is made of."""

    name: str
    version: int | str
    sha256: str
    estimator: NotRequired[str]
    alias: NotRequired[str]
