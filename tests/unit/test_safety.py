"""What an environment that others can reach must have switched on, told by its settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from featurelib.errors import ConfigError
from featurelib.safety import findings, key_findings, refuse_unsafe_writers, spark_defaults
from featurelib.specs import RunSettings, SparkSettings, TrackingSettings
from tests.unit.shop_project import BASE, LOCAL, SOURCES, write_project

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


def on_s3(folder: Path, **more: str) -> RunSettings:
    """Settings of an environment whose tables are on S3."""
    conf = {key: value for key, value in more.items() if key.startswith("spark.")}
    return RunSettings(
        root="s3a://bucket/store",
        work=str(folder),
        landing=str(folder),
        spark=SparkSettings(conf=conf),
        tracking=TrackingSettings(tracking_uri="sqlite:///x.db", artifact_root="x", experiment="x"),
    )


@pytest.mark.parametrize(
    ("key", "value", "refused"),
    [
        ("spark.delta.logStore.class", "org.apache.spark.sql.delta.storage.HDFSLogStore", True),
        ("spark.delta.logStore.s3a.impl", "io.delta.storage.LocalLogStore", True),
        ("spark.delta.logStore.s3.impl", "io.delta.storage.HDFSLogStore", True),
        ("spark.delta.logStore.s3a.impl", "io.delta.storage.S3DynamoDBLogStore", False),
        ("spark.delta.logStore.s3a.impl", "io.delta.storage.S3SingleDriverLogStore", False),
        ("spark.delta.logStore.gs.impl", "io.delta.storage.GCSLogStore", False),
    ],
)
def test_a_log_store_that_overwrites_on_s3_is_refused(
    tmp_path: Path, key: str, value: str, refused: bool
) -> None:
    """A rename is no test and set on S3; the message names the setting."""
    settings = on_s3(tmp_path, **{key: value})
    if not refused:
        refuse_unsafe_writers(settings, {})
        return
    with pytest.raises(ConfigError, match=key):
        refuse_unsafe_writers(settings, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_S3_ALLOW_UNSAFE_RENAME", "true"),
        ("AWS_S3_ALLOW_UNSAFE_RENAME", "1"),
        ("AWS_CONDITIONAL_PUT", "disabled"),
        ("AWS_COPY_IF_NOT_EXISTS", "none"),
    ],
)
def test_a_variable_that_lets_commits_overwrite_is_refused(tmp_path: Path, name: str, value: str) -> None:
    """On S3 only: on a local folder it means nothing."""
    with pytest.raises(ConfigError, match=name):
        refuse_unsafe_writers(on_s3(tmp_path), {name: value})
    local = on_s3(tmp_path).model_copy(update={"root": str(tmp_path)})
    refuse_unsafe_writers(local, {name: value})


def test_a_root_that_is_no_folder_needs_one_beside_it(tmp_path: Path) -> None:
    """Leases and locks cannot lie on S3: without ``work`` the configuration is refused, and so is a URI there."""
    given = on_s3(tmp_path).model_dump()
    for work in (None, "s3a://bucket/work"):
        with pytest.raises(ValueError, match="set work to one on a file system that all drivers share"):
            RunSettings(**{**given, "work": work})
    assert RunSettings(**{**given, "root": str(tmp_path), "work": None}).work_folder == tmp_path
    assert RunSettings(**{**given, "root": f"file://{tmp_path}", "work": None}).work_folder == tmp_path


def test_keys_of_encrypted_columns_are_looked_at(tmp_path: Path) -> None:
    """One that is not there and one that is too short fail by their reference; a good one shows a fingerprint."""
    said = "    unique: [customer]\n    encryption: {columns: [city], key: '${secret:env/SHOP_KEY}', reveals: ['*']}\n"
    sources = SOURCES.replace("    unique: [customer]\n", said).replace("city, changed_ts", "changed_ts")
    sources = sources.replace(", reveals: ['*']", "")
    shop = write_project(tmp_path, {"shop/sources.yaml": sources})

    def found(**environ: str) -> list[tuple[bool, str]]:
        return [(one.holds, f"{one.name} {one.found}") for one in key_findings(shop, "local", environ)]

    ((absent, why),) = found()
    assert not absent
    assert "the environment variable SHOP_KEY is not set" in why
    ((short, why),) = found(SHOP_KEY="5e" * 16)
    assert not short
    assert "has 16 bytes" in why
    assert "5e5e" not in why
    ((good, why),) = found(SHOP_KEY="5e" * 32)
    assert good
    assert why.startswith("key ${secret:env/SHOP_KEY} of shop.customers 32 bytes, fingerprint ")
