"""A learner on one machine, written in the pipeline's own folder, as a stage of a saved pipeline.

The class is asked for four things, all of them over numbers in pandas frames::

    class Learner:
        def fit(self, features, label, *, parameters, seed): ...   # learn; features: pandas.DataFrame
        def predict(self, features): ...                           # probability of label 1, or the number
        def save(self, folder): ...                                # write files; pickles are refused
        @classmethod
        def load(cls, folder): ...                                 # read them back

What is saved holds its files and the SHA-256 of its module, and no code. Loading a model therefore runs
nothing of it: :func:`bind_functions` gives it the pipeline's class, after its module's hash was compared.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.ml import Model
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from featurelib.errors import ConfigError, FrameError, ModelGateError, PreconditionError
from featurelib.model_specs import Task
from featurelib.registry.files import check_no_pickle
from featurelib.training.estimators import LABEL
from featurelib.training.look import ROW_HASH
from featurelib.training.stages import VECTOR

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_MOST_NUMBERS = 250_000_000
_SAVED = "name string, content string"
_RAISED = ""


@dataclass(frozen=True)
class LearnerCode:
    """A learner's class, and the SHA-256 of the module that defines it."""

    learner: type[Any]
    sha256: str


Resolve = Callable[[str], LearnerCode]


@dataclass(frozen=True)
class Request:
    """What a function is fitted for: names of its columns, task, seed and suffix of its output."""

    places: tuple[str, ...]
    task: Task
    seed: int
    suffix: str = ""


def fit_function(
    rows: DataFrame, *, reference: str, code: Resolve | None, parameters: Mapping[str, Any], request: Request
) -> FunctionModel:
    """Fit a learner of the pipeline's folder in one Spark task, on all rows in the order of their hash.

    Its frame has the places of the linear vector: numbers scaled, categories one-hot. Trials that run beside
    each other are tasks of their own, so a cluster fits as many at a time as it has slots.

    Raises:
        ConfigError: nobody said where the pipeline's functions are.
        FrameError: the rows are more than one machine should hold.
        LearnerError: the learner raised.
        ModelGateError: it saved a pickle.
    """
    if code is None:
        raise ConfigError(
            f"function {reference!r}", "the pipeline's folder", "train by the pipeline, or give options.code"
        )
    found = code(reference)
    count = rows.count()
    if count * len(request.places) > _MOST_NUMBERS:
        raise FrameError(
            f"function {reference!r}: {count:,} rows of {len(request.places)} columns on one machine",
            f"at most {_MOST_NUMBERS:,} numbers",
            "set tuning.sample and preparation.sampling lower, select features, or take a learner of Spark's",
        )
    given = rows.select(ROW_HASH, LABEL, vector_to_array(F.col(VECTOR["linear"])).alias("values"))
    fit = _fitter(found.learner, dict(parameters), request)
    ordered = given.repartition(1).sortWithinPartitions(ROW_HASH)
    files = {row["name"]: row["content"] for row in ordered.mapInArrow(fit, _SAVED).collect()}
    if _RAISED in files:
        raise LearnerError(base64.b64decode(files[_RAISED]).decode())
    model = FunctionModel()
    model._set(
        reference=reference,
        codeSha256=found.sha256,
        task=request.task,
        places=json.dumps(request.places),
        files=json.dumps(files),
        suffix=request.suffix,
    )
    return model.bound(found)


class LearnerError(Exception):
    """What a learner raised where it was fitted, by its name and text."""


def _fitter(
    learner: type[Any], parameters: Mapping[str, Any], request: Request
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return what fits a learner on the only partition's rows and yields its files, or what it raised."""

    def fit(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = pa.Table.from_batches(batches)
        try:
            files = _learnt(learner, rows, parameters, request)
        except Exception as error:  # noqa: BLE001 - it is the outcome; raised here, Spark would try it again
            files = {_RAISED: base64.b64encode(f"{type(error).__name__}: {error}".encode()).decode()}
        yield pa.record_batch({"name": list(files), "content": list(files.values())})

    return fit


def _learnt(
    learner: type[Any], rows: pa.Table, parameters: Mapping[str, Any], request: Request
) -> dict[str, str]:
    values = rows["values"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    features = pd.DataFrame(
        values.reshape(rows.num_rows, len(request.places)), columns=_distinct(request.places)
    )
    fitted = learner()
    fitted.fit(features, rows[LABEL].to_numpy(), parameters=dict(parameters), seed=request.seed)
    with tempfile.TemporaryDirectory(prefix="featurelib-learner-") as folder:
        fitted.save(Path(folder))
        return {
            path.relative_to(folder).as_posix(): base64.b64encode(path.read_bytes()).decode()
            for path in sorted(Path(folder).rglob("*"))
            if path.is_file()
        }


class FunctionModel(Model, DefaultParamsReadable["FunctionModel"], DefaultParamsWritable):
    """A fitted learner of the pipeline's folder; it predicts once it is bound to that folder's class."""

    reference = Param(Params._dummy(), "reference", "module:class", TypeConverters.toString)
    codeSha256 = Param(Params._dummy(), "codeSha256", "hash of the module", TypeConverters.toString)  # noqa: N815
    task = Param(Params._dummy(), "task", "binary or regression", TypeConverters.toString)
    places = Param(Params._dummy(), "places", "names of the columns, JSON", TypeConverters.toString)
    files = Param(Params._dummy(), "files", "what the learner saved, base64 in JSON", TypeConverters.toString)
    suffix = Param(Params._dummy(), "suffix", "of the columns it writes", TypeConverters.toString)

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(suffix="")
        self._code: LearnerCode | None = None

    def bound(self, code: LearnerCode) -> FunctionModel:
        """Return the model bound to its class.

        Raises:
            ModelGateError: the module is not the one it was trained with, or a pickle is inside.
        """
        if code.sha256 != self.getOrDefault(self.codeSha256):
            raise ModelGateError(
                f"the model was trained with another text of {self.getOrDefault(self.reference)}",
                f"a module with sha256 {self.getOrDefault(self.codeSha256)}, found {code.sha256}",
                "check out the code the model was trained with, or train again",
            )
        with tempfile.TemporaryDirectory(prefix="featurelib-learner-") as folder:
            _written(json.loads(self.getOrDefault(self.files)), Path(folder))
            check_no_pickle(Path(folder), what=f"function {self.getOrDefault(self.reference)}")
        self._code = code
        return self

    def _transform(self, rows: DataFrame) -> DataFrame:
        if self._code is None:
            raise PreconditionError(
                f"the model predicts by {self.getOrDefault(self.reference)}, and no code is bound to it",
                "the pipeline's folder with the code it was trained with",
                "load it by the pipeline, or call featurelib.training.function_model.bind_functions",
            )
        predict = _predictor(
            self._code.learner,
            json.loads(self.getOrDefault(self.files)),
            tuple(json.loads(self.getOrDefault(self.places))),
        )
        value = predict(vector_to_array(F.col(VECTOR["linear"])))
        suffix = self.getOrDefault(self.suffix)
        if self.getOrDefault(self.task) == "regression":
            return rows.withColumn(f"prediction{suffix}", value)
        # Named once, so that Spark does not ask the learner three times a row.
        rows = rows.withColumn(f"_value{suffix}", value)
        one = F.col(f"_value{suffix}")
        return rows.withColumns(
            {
                f"probability{suffix}": array_to_vector(F.array(1 - one, one)),
                f"prediction{suffix}": (one > 0.5).cast("double"),
            }
        )


def bind_functions(model: Any, code: Resolve) -> None:  # noqa: ANN401 - any stage, pipelines hold others
    """Bind every function inside a loaded model to the classes of a pipeline's folder.

    Raises:
        ConfigError: the folder has no such module or class.
        ModelGateError: a module is not the one the model was trained with, or a pickle is inside.
    """
    for stage in getattr(model, "stages", []):
        bind_functions(stage, code)
    if isinstance(model, FunctionModel):
        model.bound(code(model.getOrDefault(model.reference)))


def _predictor(
    learner: type[Any], files: Mapping[str, str], places: tuple[str, ...]
) -> Callable[[Column], Column]:
    def predict(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        with tempfile.TemporaryDirectory(prefix="featurelib-learner-") as folder:
            _written(files, Path(folder))
            loaded = learner.load(Path(folder))
        for batch in batches:
            values = np.asarray(loaded.predict(_frame(batch, places)), dtype=np.float64)
            if values.shape != (len(batch),) or not np.isfinite(values).all():
                raise ValueError(f"predict gave {values.shape} for {len(batch)} rows, or no finite value")
            yield pd.Series(values)

    # A learner takes whole batches; rows keep their other columns in the JVM.
    found: Callable[[Column], Column] = pandas_udf(predict, "double")  # type: ignore[call-overload]
    return found


def _written(files: Mapping[str, str], folder: Path) -> None:
    """Write a learner's files under the folder, and nowhere else."""
    for name, text in files.items():
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise ModelGateError(f"a learner's file {name!r}", "a path in its folder", "train it again")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(text))


def _frame(values: pd.Series, places: tuple[str, ...]) -> pd.DataFrame:
    matrix = (
        np.stack([np.asarray(row, dtype=np.float64) for row in values])
        if len(values)
        else np.empty((0, len(places)))
    )
    return pd.DataFrame(matrix, columns=_distinct(places))


def _distinct(places: tuple[str, ...]) -> list[str]:
    """Return a name for each place: a feature's later places have their number behind it."""
    seen: dict[str, int] = {}
    names = []
    for place in places:
        seen[place] = seen.get(place, 0) + 1
        names.append(place if seen[place] == 1 else f"{place}_{seen[place]}")
    return names
