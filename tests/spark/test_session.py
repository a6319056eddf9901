"""What a session is told, by where it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from featurelib import class_archive, session
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


def test_a_missing_archive_is_passed_over(archive: str) -> None:
    """The session starts without it."""
    Path(archive).unlink()
    conf = session.session_conf(SparkSettings(), remote=None, launched=False)
    assert "SharedArchiveFile" not in conf["spark.driver.extraJavaOptions"]


def test_the_job_of_the_archive_runs(spark: SparkSession, tmp_path: Path) -> None:
    """It writes, reads, sorts, shuffles, joins and aggregates: three parts and one hash."""
    assert class_archive.touch_classes(spark, str(tmp_path)) == 4
