"""What an environment that others can reach must have switched on, told by its settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from featurelib.safety import findings, spark_defaults
from tests.unit.shop_project import BASE, LOCAL, write_project

LOCKED = {
    "spark.authenticate": "true",
    "spark.network.crypto.enabled": "true",
    "spark.io.encryption.enabled": "true",
    "spark.acls.enable": "true",
}
ENVIRON = {"SHOP_ROOT": "/srv/shop", "MLFLOW_TOKEN": "hunter2"}


def failing(folder: Path, conf: dict[str, str], environ: dict[str, str] | None = None) -> list[str]:
    """The promises that do not hold with such settings."""
    text = "root: ${env:SHOP_ROOT}\nspark:\n  conf:\n" + "".join(f"    {k}: '{v}'\n" for k, v in conf.items())
    shop = write_project(folder, {"env/prod.yaml": text})
    return [
        one.name for one in findings(shop, "prod", ENVIRON if environ is None else environ) if not one.holds
    ]


def test_spark_as_it_comes_is_open(tmp_path: Path) -> None:
    """Nothing is authenticated, nothing encrypted, and anybody may look."""
    assert failing(tmp_path, {"spark.app.name": "x"}) == [
        "who may talk to Spark",
        "what crosses the wire",
        "what Spark spills to disk",
        "who may open Spark's UI",
    ]


def test_a_locked_cluster_passes(tmp_path: Path) -> None:
    """With four settings every promise holds."""
    assert failing(tmp_path, LOCKED) == []


@pytest.mark.parametrize(
    ("key", "value", "promise"),
    [
        ("spark.network.crypto.cipher", "AES/CTR/NoPadding", "what crosses the wire"),
        ("spark.master.rest.enabled", "true", "submission by REST"),
        ("spark.redaction.regex", "(?i)password", "what event logs blot out"),
        ("spark.acls.enable", "false", "who may open Spark's UI"),
        ("spark.authenticate", "false", "who may talk to Spark"),
    ],
)
def test_one_open_door_is_named(tmp_path: Path, key: str, value: str, promise: str) -> None:
    """A cipher without integrity, a door beside the door, a pattern that finds little."""
    assert failing(tmp_path, {**LOCKED, key: value}) == [promise]


def test_a_secret_that_is_not_set_is_named(tmp_path: Path) -> None:
    """It would be missed in the middle of a run."""
    conf = {**LOCKED, "spark.authenticate.secret": "${secret:env/SPARK_SECRET}"}
    assert failing(tmp_path, conf) == ["secret SPARK_SECRET"]


def test_settings_of_the_cluster_count(tmp_path: Path) -> None:
    """What spark-defaults.conf says holds where the project says nothing, however it is written."""
    home = tmp_path / "spark" / "conf"
    home.mkdir(parents=True)
    (home / "spark-defaults.conf").write_text(
        "# comment\n" + "\n".join(f"{k}  {v}" for k, v in LOCKED.items()) + "\nspark.a=b c\n"
    )
    environ = {**ENVIRON, "SPARK_HOME": str(home.parent)}

    assert failing(tmp_path, {"spark.app.name": "x"}, environ) == []
    assert spark_defaults(environ)["spark.a"] == "b c"
    assert spark_defaults({}) == {}


def test_a_local_master_needs_nothing(tmp_path: Path) -> None:
    """Only this process listens, on the loopback address."""
    shop = write_project(tmp_path, {"base.yaml": BASE, "env/local.yaml": LOCAL})
    assert findings(shop, "local", {}) == []


def test_a_configuration_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    """The doctor says so and goes on."""
    (one,) = findings(write_project(tmp_path), "prod", {})
    assert (one.name, one.holds) == ("configuration", False)
