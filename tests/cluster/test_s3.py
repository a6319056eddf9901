"""The six steps of a pipeline whose tables lie on S3, against a server that speaks its protocol on this machine.

Asked for by FEATURELIB_S3, which names a moto server; docs/setup.md says how to start one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.chaos import stand

PROJECT = Path(__file__).resolve().parents[2]
SERVER = os.environ.get("FEATURELIB_S3", "")
HADOOP_AWS = "org.apache.hadoop:hadoop-aws:3.5.0"

pytestmark = pytest.mark.skipif(not SERVER, reason="needs a moto server, named by FEATURELIB_S3")


def settings(root: str, work: Path) -> list[str]:
    """Overrides of a run: where its state lies."""
    given = [f"root={root}", f"work={work}", f"landing={work}/landing"]
    given += [f"tracking.tracking_uri=sqlite:///{work}/mlflow.db", f"tracking.artifact_root={work}/artifacts"]
    return [word for text in given for word in ("-c", text)]


def lake(root: str, work: Path) -> list[str]:
    """The same on S3: an environment that says how Spark gets there."""
    conf = {
        "spark.jars.packages": HADOOP_AWS,
        "spark.hadoop.fs.s3a.endpoint": SERVER,
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        "spark.hadoop.fs.s3a.access.key": "${secret:env/AWS_ACCESS_KEY_ID}",
        "spark.hadoop.fs.s3a.secret.key": "${secret:env/AWS_SECRET_ACCESS_KEY}",
        "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",
    }
    spark = {"spark": {"master": "local[2]", "conf": conf}}
    (work / "conf" / "env" / "lake.yaml").write_text(json.dumps(spark), encoding="utf-8")  # JSON is YAML
    return ["--env", "lake", *settings(root, work)]


def run(
    words: list[str], pipeline: Path, overrides: list[str], **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command of the library to its end."""
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": SERVER,
        "AWS_ALLOW_HTTP": "true",
        **more,
    }
    return subprocess.run(
        [sys.executable, "-m", "featurelib.cli", *words, "--pipeline", str(pipeline), *overrides],
        check=False,
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
    )


def tables(said: str) -> dict[str, str]:
    """Rows and content of every table that follows from the data alone."""
    rows = (line.split() for line in said.splitlines())
    return {
        row[0]: f"{row[2]} {row[3]}"
        for row in rows
        if len(row) == 4
        and row[0].split(".")[0] in {"bronze", "silver", "features", "training", "predictions"}
    }


@pytest.fixture
def bucket() -> str:
    """An empty bucket, named after this process."""
    name = f"featurelib-{os.getpid()}"
    with urlopen(Request(f"{SERVER}/{name}", method="PUT"), timeout=30) as answer:
        assert answer.status == 200
    return name


def test_a_pipeline_on_s3_makes_the_tables_it_makes_in_a_folder(tmp_path: Path, bucket: str) -> None:
    """All steps, a rerun that has nothing to do, and equal tables; leases and locks lie in the folder beside."""
    local, work = tmp_path / "local", tmp_path / "work"
    for folder in (local, work):
        stand.land(folder)
    pipeline = work / "conf" / "stand"
    here = settings(str(local), local)
    there = lake(f"s3a://{bucket}/store", work)
    as_of = ["--as-of", "2024-01-10"]
    for overrides in (here, there):
        first = run(["run", *as_of], pipeline, overrides)
        assert first.returncode == 0, first.stdout[-4000:] + first.stderr[-4000:]
    assert run(["run", *as_of], pipeline, there).returncode == 5
    found = tables(run(["tables"], pipeline, there).stdout)
    assert len(found) >= 5
    assert found == tables(run(["tables"], pipeline, here).stdout)
    assert (work / "leases" / "stand.json").is_file()
    assert not (work / "tables").exists()


def test_settings_that_would_lose_a_commit_on_s3_are_refused_by_name(tmp_path: Path, bucket: str) -> None:
    """Before anything is read or written, with exit code 2."""
    stand.land(tmp_path)
    overrides = lake(f"s3a://{bucket}/store", tmp_path)
    pipeline = tmp_path / "conf" / "stand"
    answer = run(["publishes"], pipeline, overrides, AWS_S3_ALLOW_UNSAFE_RENAME="true")
    assert answer.returncode == 2
    assert "AWS_S3_ALLOW_UNSAFE_RENAME" in answer.stderr
