"""The doctor's checks, each on made-up machines."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from featurelib import doctor
from featurelib.doctor import GIB, Check

GOOD = {
    "pyspark": "4.2.0", "delta-spark": "4.4.0", "mlflow": "3.17.2", "hyperopt": "0.3.0", "pandas": "2.3.3",
    "pyarrow": "25.0.1", "numpy": "2.4.6", "polars": "2.1.0", "importlib-metadata": "8.7.1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("version", "state"), [((3, 10, 9), "fail"), ((3, 11, 0), "ok"), ((3, 13, 2), "ok"), ((3, 14, 0), "warn")]
)
def test_python(version, state):
    """Python 3.11 to 3.13 is right; older fails, newer is outside what was tested."""
    assert doctor.check_python(version).state == state


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("17.0.15", ""),
        ("21", ""),
        ("25.0.3", ""),
        ("1.8.0_402", "too old"),
        ("11.0.22", "too old"),
        ("17.0.10", "17.0.11"),
        ("24.0.1", "not tested"),
        ("25", "corrupt"),
        ("25.0.2", "corrupt"),
        ("", "does not run"),
    ],
)
def test_java_versions(version, reason):
    """The doctor takes and refuses the same Java versions as spark-submit.sh."""
    answer = doctor.java_refusal(version)
    assert reason in answer
    assert bool(answer) == bool(reason)


def test_java_refused_by_the_script_is_shown():
    """A Java the script passed over is a warning that names it; no Java at all is a failure."""
    check = doctor.check_java([("/jdk", "21.0.8")], "JAVA_HOME: 11.0.2 (too old for Spark 4)")
    assert check.state == "warn"
    assert "11.0.2" in check.found
    assert doctor.check_java([]).state == "fail"
    assert "25.0.1" in doctor.check_java([("PATH", "25.0.1"), ("x", "21")]).found


def test_the_matrix_of_packages():
    """The pinned versions pass; Spark's next patch, pandas 3, and a missing package each fail alone."""
    assert {check.state for check in doctor.check_packages(GOOD.get)} == {"ok"}
    for name, version in [("pyspark", "4.2.1"), ("pandas", "3.0.0"), ("importlib-metadata", "8.8.0")]:
        failed = [c.name for c in doctor.check_packages({**GOOD, name: version}.get) if c.state == "fail"]
        assert failed == [name]
    without = {name: version for name, version in GOOD.items() if name != "mlflow"}
    found = {check.name: check for check in doctor.check_packages(without.get)}
    assert found["mlflow"].found == "not installed"
    assert found["mlflow"].fix


def test_jars(tmp_path):
    """JARs are right when each is there with its checksum; a truncated one is named."""
    name = f"io.delta_{doctor.DELTA_ARTIFACT}"
    sums = f"{hashlib.sha256(b'whole').hexdigest()}  {name}\n"
    assert doctor.check_jars(tmp_path, sums).state == "fail"
    (tmp_path / name).write_bytes(b"whole")
    assert doctor.check_jars(tmp_path, sums).state == "ok"
    (tmp_path / name).write_bytes(b"who")
    assert name in doctor.check_jars(tmp_path, sums).found


def test_a_list_for_another_spark_fails(tmp_path):
    """A list of JARs without the artifact of this Spark fails, whatever the files."""
    assert doctor.check_jars(tmp_path, "00  delta-spark_2.13-4.0.0.jar\n").state == "fail"


@pytest.mark.parametrize(("free", "state"), [(6 * GIB, "ok"), (2 * GIB, "warn"), (GIB // 2, "fail")])
def test_disk_space(free, state):
    """Below 5 GiB free is a warning, below 1 GiB a failure."""
    assert doctor.check_space("disk", Path("/x"), free).state == state


def test_writable(tmp_path):
    """A folder still to be made counts by its nearest parent; a file in its place fails."""
    assert doctor.check_writable("state", tmp_path / "a" / "b").state == "ok"
    (tmp_path / "file").write_text("")
    assert doctor.check_writable("state", tmp_path / "file").state == "fail"


def test_a_port_in_use_is_only_a_warning():
    """A busy port never fails the check."""
    assert doctor.check_port(4040, "the UI", free=False).state == "warn"


def test_lines_and_exit_code():
    """What is not ok is followed by what was expected and what to do; only failures make the exit code 2."""
    ok, warn = Check("a", "ok", "1"), Check("b", "warn", "2", "3", "mend it")
    assert doctor.lines([ok, warn]) == [
        "ok    a: 1",
        "warn  b: 2",
        "      expected: 3",
        "      to do: mend it",
    ]
    assert doctor.exit_code([ok, warn]) == 0
    assert doctor.exit_code([ok, Check("c", "fail", "x")]) == 2


def test_the_doctor_needs_the_standard_library_only():
    """It runs where nothing could be installed: without site-packages it imports all the same."""
    root = Path(doctor.__file__).parents[1]
    code = f"import sys; sys.path.insert(0, {str(root)!r}); import featurelib.doctor"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
