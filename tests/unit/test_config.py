"""Layers, references, secrets and what a loaded project holds."""

from __future__ import annotations

import pickle
import re
from datetime import date
from pathlib import Path

import pytest

from featurelib import preparation_specs, specs
from featurelib.config import (
    ConfigErrors,
    Problem,
    Setting,
    explain_config,
    load_project,
    render_settings,
    resolve_secret,
    spec_hash,
)
from featurelib.errors import ConfigError
from featurelib.expressions.words import FUNCTIONS
from featurelib.specs import Entity, Gate, LandedTable, Project
from tests.unit.shop_project import FILES, write_project

CONF = Path(__file__).parents[2] / "conf"


def test_project_holds_what_the_files_say(tmp_path: Path) -> None:
    """Entities become keys, patterns stay patterns, dates become dates, and lists tuples."""
    project = load_project(write_project(tmp_path), environ={})
    assert (project.name, project.env) == ("shop", "local")
    assert [view.name for view in project.views] == ["spending", "facts"]
    assert project.views[0].entity_key == ("customer",)
    assert project.split.validate_ == (date(2024, 6, 1), date(2024, 7, 1))
    assert project.score_from == date(2024, 7, 1)
    assert project.tables["customers"].every_day is False
    assert project.rules["orders"][1].on_fail == "warn"
    assert project.models["returns"].estimators["forest"].parameters == {"trees": 20}


def test_relative_paths_start_at_the_project_folder(tmp_path: Path) -> None:
    """Root, landing, artifacts and a sqlite file become absolute, beside conf/."""
    settings = load_project(write_project(tmp_path), environ={}).settings
    assert settings.root == f"{tmp_path}/var/local"
    assert settings.landing == f"{tmp_path}/var/local/landing"
    assert settings.tracking.tracking_uri == f"sqlite:///{tmp_path}/var/local/mlflow.db"
    assert settings.tracking.artifact_root == f"{tmp_path}/var/local/artifacts"


@pytest.mark.parametrize("root", ["/data/shop", "s3a://bucket/shop", "dbfs:/shop"])
def test_absolute_paths_and_stores_stay(tmp_path: Path, root: str) -> None:
    """A path or a store that is complete is not touched."""
    overrides = [f"root={root}", f"work={tmp_path}"]
    project = load_project(write_project(tmp_path), overrides=overrides, environ={})
    assert project.settings.root == root


def test_folder_stays_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative folder is kept relative, while settings are absolute."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    project = load_project("conf/shop", environ={})
    assert project.folder == "conf/shop"
    assert project.settings.root == f"{tmp_path}/var/local"


def test_later_layers_win(tmp_path: Path) -> None:
    """File, environment's file, pipeline's file, variable, command line: each beats those before."""
    folder = write_project(
        tmp_path,
        {
            "base.yaml": FILES["base.yaml"] + "storage: {retention: 1d, compression: snappy}\n",
            "env/local.yaml": "storage: {retention: 2d}\nspark: {driver_memory: 2g, app_name: two}\n",
            "shop/pipeline.yaml": FILES["shop/pipeline.yaml"] + "spark: {app_name: three, master: local}\n",
        },
    )
    project = load_project(
        folder,
        overrides=["storage.retention=5d"],
        environ={"FEATURELIB__STORAGE__RETENTION": "4d", "featurelib__spark__master": "yarn"},
    )
    assert project.settings.storage.retention == "5d"
    assert project.settings.storage.compression == "snappy"
    assert project.settings.spark.driver_memory == "2g"
    assert project.settings.spark.app_name == "three"
    assert project.settings.spark.master == "yarn"
    assert project.settings.spark.shuffle_partitions == 8


def test_overrides_reach_lists_numbers_and_spark_settings(tmp_path: Path) -> None:
    """An index names a list's item, YAML gives the type, and Spark's dotted settings stay one key of text."""
    project = load_project(
        write_project(tmp_path),
        overrides=[
            "models.returns.tuning.trials=9",
            "views.spending.aggregations.2.windows=[1d, 2d]",
            "views.spending.aggregations.0.windows.1=60d",
            "spark.conf.spark.sql.shuffle.partitions=7",
            "models.returns.estimators.forest.parameters={trees: 3}",
        ],
        environ={},
    )
    assert project.models["returns"].tuning.trials == 9
    assert project.views[0].aggregations[2].windows == ("1d", "2d")
    assert project.views[0].aggregations[0].windows == ("1d", "60d")
    assert project.settings.spark.conf == {"spark.sql.shuffle.partitions": "7"}
    assert project.models["returns"].estimators["forest"].parameters == {"trees": 3}


REFERENCES = [
    ("${env}", {}, "local"),
    ("${pipeline}", {}, "shop"),
    ("x-${pipeline}-${env}-y", {}, "x-shop-local-y"),
    ("${tracking.artifact_root}", {}, "var/local/artifacts"),
    ("${label.name}", {}, "returned"),
    ("n${spark.shuffle_partitions}", {}, "n8"),
    ("${env:WHO}", {"WHO": "me"}, "me"),
    ("${env:WHO:-nobody}", {}, "nobody"),
    ("${env:WHO:-nobody}", {"WHO": ""}, "nobody"),
    ("${env:WHO:-nobody}", {"WHO": "me"}, "me"),
    ("a${env:WHO:-}b", {}, "ab"),
    ("${env:WHO}", {"WHO": "${root}"}, "${root}"),
]


@pytest.mark.parametrize(("text", "environ", "expected"), REFERENCES)
def test_references(tmp_path: Path, text: str, environ: dict[str, str], expected: str) -> None:
    """References name the environment, the pipeline, any key or a variable, whose text is not read again."""
    folder = write_project(tmp_path, {"env/local.yaml": f'tracking: {{experiment: "{text}"}}\n'})
    assert load_project(folder, environ=environ).settings.tracking.experiment == expected


def test_reference_alone_keeps_the_type(tmp_path: Path) -> None:
    """A value that is one reference is what it refers to, a number included."""
    folder = write_project(
        tmp_path, {"env/local.yaml": "spark: {shuffle_partitions: '${models.returns.tuning.trials}'}\n"}
    )
    assert load_project(folder, environ={}).settings.spark.shuffle_partitions == 4


WORDS = [
    ("yes", "yes"),
    ("off", "off"),
    ("2024-01-01", "2024-01-01"),
    ("12:30:45", "12:30:45"),
    ("010", "010"),
    ("0x1F", "0x1F"),
    ("1_000", "1_000"),
    ("1e999", "1e999"),
    (".inf", ".inf"),
    ("'5'", "5"),
    ("'true'", "true"),
    ('"null"', "null"),
    ("=", "="),
]


@pytest.mark.parametrize(("written", "expected"), WORDS)
def test_texts_stay_texts(tmp_path: Path, written: str, expected: str) -> None:
    """Only true and false are booleans, only plain decimals are numbers, and dates are texts."""
    folder = write_project(tmp_path, {"env/local.yaml": f"tracking:\n  experiment: {written}\n"})
    assert load_project(folder, environ={}).settings.tracking.experiment == expected


def test_secret_stays_a_reference(tmp_path: Path) -> None:
    """A secret's value is in neither the project, its printed form, its hash nor the explanation."""
    folder = write_project(tmp_path)
    environ = {"SHOP_ROOT": "/data", "MLFLOW_TOKEN": "hunter2"}
    project = load_project(folder, env="prod", environ=environ)
    reference = project.settings.secrets["mlflow_token"]
    assert reference == "${secret:env/MLFLOW_TOKEN}"
    assert "hunter2" not in f"{project!r} {project.model_dump_json()}"
    assert "hunter2" not in render_settings(explain_config(folder, "prod", environ=environ))
    assert resolve_secret(reference, environ) == "hunter2"


def test_unset_secret_fails_when_used_and_says_what_to_export() -> None:
    """A secret is asked for late; the error names the variable."""
    with pytest.raises(ConfigError, match=r"TOKEN is not set\n.*\n.*export TOKEN=") as caught:
        resolve_secret("${secret:env/TOKEN}", {})
    assert caught.value.exit_code == 2


def test_text_that_is_no_reference_is_not_shown() -> None:
    """What was taken for a reference may be the secret itself."""
    with pytest.raises(ConfigError, match="no secret reference") as caught:
        resolve_secret("hunter2", {})
    assert "hunter2" not in str(caught.value)


def test_explanation_says_where_each_value_is_from(tmp_path: Path) -> None:
    """Each setting carries file and line, the variable, the command line or the default."""
    settings = explain_config(
        write_project(tmp_path),
        overrides=["storage.retention=5d"],
        environ={"FEATURELIB__SPARK__DRIVER_MEMORY": "8g"},
    )
    by_key = {setting.key: setting for setting in settings}
    assert by_key["spark.app_name"] == Setting("spark.app_name", "featurelib", "conf/base.yaml:4")
    assert by_key["spark.master"] == Setting("spark.master", "local[*]", "conf/env/local.yaml:2")
    assert by_key["spark.driver_memory"].origin == "environment FEATURELIB__SPARK__DRIVER_MEMORY"
    assert by_key["storage.retention"] == Setting("storage.retention", "5d", "-c")
    assert by_key["storage.compression"] == Setting("storage.compression", "zstd", "default")
    assert by_key["spine.as_of_ts"].origin == "conf/shop/pipeline.yaml:5"
    assert by_key["landing"].value == "var/local/landing"


def test_explanation_goes_on_after_faults(tmp_path: Path) -> None:
    """With an unset variable and a literal secret, everything else is still explained, the secret hidden."""
    folder = write_project(tmp_path)
    settings = explain_config(folder, "prod", ["secrets.mlflow_token=hunter2"], environ={})
    text = render_settings(settings)
    assert "SHOP_ROOT is not set" in text
    assert "conf/base.yaml:5" in text
    assert "***" in text
    assert "hunter2" not in text


def test_explanation_hides_what_the_environment_brought(tmp_path: Path) -> None:
    """A password within a variable's address is not printed either."""
    folder = write_project(tmp_path, {"env/local.yaml": "tracking: {tracking_uri: '${env:URI}'}\n"})
    text = render_settings(explain_config(folder, environ={"URI": "https://me:hunter2@host"}))
    assert "hunter2" not in text


def test_explanation_of_an_unreadable_file_is_its_fault(tmp_path: Path) -> None:
    """A file that is no YAML is explained as such."""
    folder = write_project(tmp_path, {"base.yaml": "root: [\n"})
    settings = explain_config(folder, environ={})
    assert [setting.key for setting in settings] == ["(problem)"]
    assert settings[0].origin == "conf/base.yaml:2"


def test_hash_says_what_a_spec_says() -> None:
    """The order of keys does not count; every value does."""
    one = LandedTable(landing="a", columns={"x": "int", "y": "int"})
    two = LandedTable(landing="a", columns={"y": "int", "x": "int"})
    other = LandedTable(landing="a", columns={"x": "int", "y": "long"})
    assert spec_hash(one) == spec_hash(two) != spec_hash(other)


def test_hash_is_pinned() -> None:
    """The hash of a spec is the same in every process and release: lineage stores it."""
    expected = "8081de32f964e61c6dc76feb9d071831518a4e2238f244626462db26eac088cb"
    assert spec_hash(Entity(keys=("origin", "carrier"), description="é")) == expected


def test_errors_survive_pickling() -> None:
    """Spark sends errors between processes; the list of problems goes with them."""
    error = ConfigErrors([Problem("conf/base.yaml:1", "root", "given", "expected", "action")])
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.problems) == (str(error), error.problems)


@pytest.mark.parametrize("env", ["local", "cluster", "prod"])
def test_flights_load_in_every_environment(env: str) -> None:
    """The pipeline that is shipped is valid as it stands."""
    environ = {"FEATURELIB_ROOT": "/data", "MLFLOW_TRACKING_URI": "http://mlflow:5000"}
    project = load_project(CONF / "flights", env=env, environ=environ)
    assert isinstance(project, Project)
    assert len(project.views) == 11
    assert isinstance(project.models["late_arrival"].gate, Gate)


def documented() -> str:
    """The reference of the configuration."""
    return (CONF.parent / "docs" / "configuration.md").read_text(encoding="utf-8")


def _is_spec(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, specs.Spec)


@pytest.mark.parametrize(
    "spec",
    [
        specs.RunSettings,
        specs.SparkSettings,
        specs.TrackingSettings,
        specs.StorageSettings,
        specs.EngineSettings,
        specs.CostSettings,
        specs.LandedTable,
        specs.Entity,
        specs.Source,
        specs.FeatureView,
        specs.Aggregation,
        specs.Latest,
        specs.Spine,
        specs.Label,
        specs.Split,
        specs.ModelSpec,
        specs.EstimatorSpec,
        *(kind for kind in vars(preparation_specs).values() if _is_spec(kind)),
        specs.Segments,
        specs.Tuning,
        specs.Gate,
        specs.FairnessDemands,
        specs.Costs,
        specs.Mitigation,
        specs.Review,
        specs.QualityRule,
        specs.QualityGate,
    ],
)
def test_every_key_is_documented(spec: type[specs.Spec]) -> None:
    """Each key of each file stands in a table of docs/configuration.md."""
    keys = {info.alias or name for name, info in spec.model_fields.items()}
    sections = {"spark", "tracking", "storage", "engine", "cost"}
    keys = {"entity" if key == "entity_key" else key for key in keys} - sections
    lines = [line for line in documented().splitlines() if line.startswith("| `")]
    told = {key for line in lines for key in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert keys <= told


def test_every_function_and_parameter_is_documented() -> None:
    """The language and the learners' parameters are listed whole."""
    words = set(re.findall(r"\w+", documented()))
    assert FUNCTIONS.keys() <= words
    assert set().union(*specs.ESTIMATOR_PARAMETERS.values()) <= words


def test_decimals_are_numbers_of_so_many_digits(tmp_path: Path) -> None:
    """``decimal(p,s)`` is a type of any column, and its features are numbers that a model takes."""
    sources = FILES["shop/sources.yaml"].replace("amount: double", "amount: decimal( 12, 2 )")
    project = load_project(write_project(tmp_path, {"shop/sources.yaml": sources}), environ={})
    assert project.tables["orders"].silver_types["amount"] == "decimal(12,2)"
