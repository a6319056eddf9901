"""A folder that MLflow takes for one of its Spark models, made around files that are saved already."""

# ruff: noqa: PLC0415 - importing mlflow takes seconds, so only what needs it does

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from featurelib.errors import ModelGateError
from featurelib.registry.files import NATIVE
from featurelib.registry.outbox import Outbox

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

EXAMPLE = "input_example.json"
_TO_MLFLOW = {
    "tinyint": "integer",
    "smallint": "integer",
    "int": "integer",
    "bigint": "long",
    "float": "float",
    "double": "double",
    "boolean": "boolean",
    "string": "string",
}
_TO_SPARK = {"integer": "int", "long": "bigint", "float": "float", "double": "double"}


def write_mlflow_model(outbox: Outbox, folder: Path, *, run_id: str) -> Path:
    """Write the MLflow model of a submission: flavours ``spark`` and ``python_function``.

    ``mlflow.spark.log_model`` would save the model a second time, and infer requirements in a second Spark;
    the folder is the same, and ``mlflow.spark.load_model`` and ``mlflow.pyfunc.load_model`` read it.
    """
    import pyspark
    from mlflow import pyfunc
    from mlflow.models import Model

    submission = outbox.submission
    shutil.copytree(outbox.native, folder / NATIVE)
    model = Model(artifact_path=folder.name, run_id=run_id, signature=_signature(submission.feature_types))
    if submission.example:
        _write_example(folder / EXAMPLE, outbox)
        model.saved_input_example_info = {
            "artifact_path": EXAMPLE,
            "type": "dataframe",
            "pandas_orient": "split",
        }
    model.add_flavor(
        "spark",
        pyspark_version=pyspark.__version__,
        model_data=NATIVE,
        code=None,
        model_class="pyspark.ml.pipeline.PipelineModel",
    )
    pyfunc.add_to_model(
        model, loader_module="mlflow.spark", data=NATIVE, conda_env="conda.yaml", python_env="python_env.yaml"
    )
    model.save(str(folder / "MLmodel"))
    _write_environment(folder, submission.requirements)
    return folder


def signature_types(folder: Path) -> dict[str, str]:
    """Return the Spark type of each input column of a written MLflow model, in order.

    Raises:
        ModelGateError: the model has no signature.
    """
    from mlflow.models import Model

    signature = Model.load(str(folder / "MLmodel")).signature
    if signature is None or signature.inputs is None:
        raise ModelGateError(
            f"the model in {folder} has no signature", "the inputs it was registered with", "train it again"
        )
    return {
        column.name: _TO_SPARK.get(column.type.name, column.type.name) for column in signature.inputs.inputs
    }


def _signature(feature_types: dict[str, str]) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(_TO_MLFLOW.get(kind, "double"), name, required=False) for name, kind in feature_types.items()
    ]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec("double", "prediction")]))


def _write_example(path: Path, outbox: Outbox) -> None:
    columns = list(outbox.submission.feature_types)
    rows = [[row.get(column) for column in columns] for row in outbox.submission.example]
    path.write_text(json.dumps({"columns": columns, "data": rows}), encoding="utf-8")


def _write_environment(folder: Path, requirements: tuple[str, ...]) -> None:
    """Write the files MLflow reads an environment from; JSON is YAML too."""
    version = platform.python_version()
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in requirements), encoding="utf-8")
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={version}", "pip", {"pip": list(requirements)}],
    }
    (folder / "conda.yaml").write_text(json.dumps(conda, indent=1), encoding="utf-8")
    python = {"python": version, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    (folder / "python_env.yaml").write_text(json.dumps(python, indent=1), encoding="utf-8")
