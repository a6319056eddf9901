"""What a session is told, by where it runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from featurelib import class_archive, session
from featurelib.errors import ConfigError
from featurelib.specs import SparkSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An archive of classes and two JARs."""
    for name in ("io.delta_delta-spark_4.2.jar", "io.delta_storage.jar"):
        (tmp_path / name).touch()
    (tmp_path / "classes.jsa").write_bytes(b"classes")
    monkeypatch.setenv("FEATURELIB_JARS", str(tmp_path))
    monkeypatch.setenv("FEATURELIB_CLASS_ARCHIVE", str(tmp_path / "classes.jsa"))
    return str(tmp_path / "classes.jsa")


@pytest.mark.parametrize("master", [None, "local", "local[4]"])
def test_a_local_session_maps_its_classes(archive: str, master: str | None) -> None:
    """Delta is on the class path, where the archive holds its classes."""
    conf = session.session_conf(SparkSettings(master=master), remote=None, launched=False)
    assert f"-XX:SharedArchiveFile={archive}" in conf["spark.driver.extraJavaOptions"]
    assert conf["spark.driver.extraClassPath"].count("io.delta") == 2
    assert "spark.jars" not in conf


def test_a_session_elsewhere_sends_its_jars(archive: str) -> None:
    """Executors of other processes get Delta's JARs from the driver."""
    conf = session.session_conf(SparkSettings(master="spark://host:7077"), remote=None, launched=False)
    assert "SharedArchiveFile" not in conf["spark.driver.extraJavaOptions"]
    assert conf["spark.jars"].count("io.delta") == 2
    assert "spark.driver.extraClassPath" not in conf


def test_threads_have_deep_stacks(archive: str) -> None:
    """Those of a JVM that is started here, and of executors elsewhere: ALS of 40 turns needs 8 MiB."""
    local = session.session_conf(SparkSettings(), remote=None, launched=False)
    assert "-Xss8m" in local["spark.driver.extraJavaOptions"]
    assert "spark.executor.extraJavaOptions" not in local
    launched = session.session_conf(SparkSettings(), remote=None, launched=True)
    assert launched["spark.executor.extraJavaOptions"] == "-Xss8m"
    own = SparkSettings(conf={"spark.executor.extraJavaOptions": "-Xss16m"})
    assert (
        session.session_conf(own, remote=None, launched=True)["spark.executor.extraJavaOptions"] == "-Xss16m"
    )


def test_a_missing_archive_is_passed_over(archive: str) -> None:
    """The session starts without it."""
    Path(archive).unlink()
    conf = session.session_conf(SparkSettings(), remote=None, launched=False)
    assert "SharedArchiveFile" not in conf["spark.driver.extraJavaOptions"]


def test_the_job_of_the_archive_runs(spark: SparkSession, tmp_path: Path) -> None:
    """It writes, reads, sorts, shuffles, joins and aggregates: three parts and one hash."""
    assert class_archive.touch_classes(spark, str(tmp_path)) == 4


def test_a_secret_becomes_known_where_the_session_is_built(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings hold the reference; Spark gets the value; one that is not set is named."""
    settings = SparkSettings(conf={"spark.hadoop.fs.s3a.secret.key": "${secret:env/SHOP_KEY}"})
    monkeypatch.setenv("SHOP_KEY", "hunter2")
    assert session.session_conf(settings, remote=None, launched=True)[
        "spark.hadoop.fs.s3a.secret.key"
    ].startswith("${secret:")

    built = session.build_session(settings, app_name="secrets")
    try:
        assert built.conf.get("spark.hadoop.fs.s3a.secret.key") == "hunter2"
    finally:
        built.conf.unset("spark.hadoop.fs.s3a.secret.key")
    monkeypatch.delenv("SHOP_KEY")
    with pytest.raises(ConfigError, match="SHOP_KEY is not set"):
        session.build_session(settings, app_name="secrets")


@pytest.mark.parametrize(
    "text",
    [
        "spark.hadoop.fs.s3a.secret.key",
        "fs.azure.account.key.x.dfs.core.windows.net",
        "jdbc:postgresql://me:word@host/db",
        "MLFLOW_TRACKING_TOKEN",
        "s3a.access-key",
        "passphrase",
        "LDAP_PASSWD",
        "Credentials",
        "my.apiKey",
        "private_key",
        "SHARED-KEY",
        "sas.key",
    ],
)
def test_what_is_secret_by_its_name_is_blotted_out(text: str) -> None:
    """Keys of stores, tokens, and addresses with a password in them; settings of ours are readable."""
    patterns = session.REDACTION.values()
    assert all(re.search(pattern, text) for pattern in patterns)
    assert not any(re.search(pattern, "spark.sql.shuffle.partitions=8 file:///a/b@c") for pattern in patterns)


def test_a_search_of_a_long_text_finds_what_the_plain_one_finds() -> None:
    """A plan with every kind of secret in it is blotted out at the same places, whatever the case."""
    text = " ".join(
        f"Scan {word}=1 Filter(a.{word.upper()} AND s3://me:word@host/{word.title()})"
        for word in ("password", "passphrase", "secret", "token", "credential", "api_key", "accesskey",
                     "private.key", "account-key", "shared_key", "saskey", "origin", "keys", "path", "carrier")
    )  # fmt: skip
    plain, fast = (
        session.REDACTION["spark.redaction.regex"],
        session.REDACTION["spark.redaction.string.regex"],
    )
    assert plain != fast
    assert re.sub(fast, "*", text) == re.sub(plain, "*", text)
    assert re.sub(fast, "*", text).count("*") == 3 * 11 + 15
