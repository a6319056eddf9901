"""The only place that builds a SparkSession."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from featurelib.config import resolve_secret
from featurelib.config_layers import HIDDEN_ADDRESS, HIDDEN_NAME
from featurelib.errors import PreconditionError
from featurelib.references import SECRET
from featurelib.specs import SparkSettings

__all__ = ["build_session", "delta_jars", "session_conf"]

PROJECT = Path(__file__).resolve().parent.parent

_MEANING = {  # what a query means must not depend on where it runs
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.pythonUDF.arrow.enabled": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.adaptive.enabled": "true",
    "spark.ui.showConsoleProgress": "false",
}
_SPEED = {  # methods above HotSpot's limit are never compiled: better that Spark does not make them
    "spark.sql.codegen.hugeMethodLimit": "8000",
    # Trials that are fitted beside each other have a pool each; all else is first in, first out.
    "spark.scheduler.mode": "FAIR",
}
_SECRETS = f"{HIDDEN_NAME}|{HIDDEN_ADDRESS}"
# Spark searches the text of every plan, several times a query. A look at one character rules out most places.
_BEGINS = "".join(sorted(set(re.findall(r"(?:^|[|(])(\w)", HIDDEN_NAME))))
_SECRETS_IN_TEXTS = f"(?i)(?=[{_BEGINS}{HIDDEN_ADDRESS[0]}])(?:{_SECRETS})"
_REDACTION = "spark.redaction.regex"
REDACTION = {  # what Spark blots out of its event logs, its UI and the plans in both
    _REDACTION: f"(?i){_SECRETS}",
    "spark.redaction.string.regex": _SECRETS_IN_TEXTS,
    "spark.sql.redaction.options.regex": f"(?i){_SECRETS}",
}
# A run of minutes on a few cores pays more for optimising compilers and collectors than it gets back.
_LOCAL_JAVA = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=512m -XX:+UseParallelGC"
# ALS hands each task the way back to its first turn, which must fit a stack: of 1 MB where nothing is said.
_DEEP_STACKS = "-Xss8m"
# An archive that does not fit this Java or its JARs is passed over without a word.
_MAPPED_CLASSES = "-XX:SharedArchiveFile={} -Xlog:disable -Xlog:all=error:stderr"
_LOCAL = {  # on one machine a task costs more than its rows: fewer tasks, no servers
    "spark.ui.enabled": "false",
    # Nobody reads the text that is made of each plan; compiling a small query costs more than running it.
    "spark.sql.ui.explainMode": "simple",
    "spark.sql.codegen.cache.maxEntries": "1000",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "512",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}


def build_session(settings: SparkSettings, *, app_name: str) -> SparkSession:
    """Return a session with Delta, UTC, ANSI and Arrow, reusing a running one.

    Three ways, told apart by the environment: ``SPARK_REMOTE`` names a Spark Connect server; under
    ``spark-submit`` and in hosted notebooks the JVM, its master and its JARs are already there; otherwise a
    local JVM is started with the master of the settings (default ``local[*]``), their driver memory and the
    cached Delta JARs. What ``settings.conf`` says wins over everything set here; secrets in it are read from
    the environment now.

    Raises:
        ConfigError: a secret is not set.
        PreconditionError: a JVM has to be started here and the Delta JARs are missing.
    """
    remote = os.environ.get("SPARK_REMOTE")
    launched = "PYSPARK_GATEWAY_PORT" in os.environ
    conf = session_conf(settings, remote=remote, launched=launched)
    builder = SparkSession.builder.appName(app_name)
    if remote:
        builder = builder.remote(remote)
    elif not launched:
        master = settings.master or "local[*]"
        if master.startswith("local"):
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        builder = builder.master(master)
    # Secrets become known here and nowhere else: the settings keep the reference.
    secrets = {key: resolve_secret(conf[key], os.environ) for key in _secret_keys(conf)}
    for key, value in {**conf, **secrets}.items():
        builder = builder.config(key, value)
    if secrets and not (remote or launched):
        plain = {key: value for key, value in conf.items() if key not in secrets}
        _start_java({"spark.master": settings.master or "local[*]", **plain}, secrets, app_name=app_name)
    return builder.getOrCreate()


def _start_java(plain: Mapping[str, str], secrets: Mapping[str, str], *, app_name: str) -> None:
    """Start a JVM and its context: in one step, secrets would stand on Java's command line."""
    if SparkContext._active_spark_context is not None:
        return
    gateway = launch_gateway(SparkConf(loadDefaults=False).setAll([*plain.items()]))  # type: ignore[no-untyped-call]
    whole = SparkConf(loadDefaults=False).setAll([*plain.items(), *secrets.items()])
    SparkContext(conf=whole.setAppName(app_name), gateway=gateway)


def _secret_keys(conf: Mapping[str, str]) -> list[str]:
    return [key for key, value in conf.items() if SECRET.fullmatch(value)]


def session_conf(settings: SparkSettings, *, remote: str | None, launched: bool) -> dict[str, str]:
    """Return the Spark settings of a session; pure but for reading which JARs and log settings are there.

    Args:
        settings: the settings of the environment.
        remote: address of a Spark Connect server, whose own process settings cannot be changed from here.
        launched: whether the JVM runs already, so that its memory, JARs and logging are decided.
    """
    conf = {
        **_MEANING,
        **_SPEED,
        **REDACTION,
        "spark.sql.shuffle.partitions": str(settings.shuffle_partitions),
    }
    if remote:
        static = (
            "spark.sql.extensions",
            "spark.sql.catalog.spark_catalog",
            "spark.scheduler.mode",
            "spark.ui.showConsoleProgress",
        )
        conf = {key: value for key, value in conf.items() if key not in static}
        return _redacted({**conf, **settings.conf})
    if not launched:
        conf.update(_process_conf(settings))
    master = settings.master or ("" if launched else "local[*]")
    if master.startswith("local"):
        conf.update(_LOCAL)
    else:
        conf["spark.executor.extraJavaOptions"] = _DEEP_STACKS
    return _redacted({**conf, **settings.conf})


def _redacted(conf: dict[str, str]) -> dict[str, str]:
    """Blot out the values of all secrets, also of those whose names do not sound like one."""
    # Hadoop's settings are logged once more, without Spark's prefix.
    named = "|".join(re.escape(key.removeprefix("spark.hadoop.")) for key in _secret_keys(conf))
    return {**conf, _REDACTION: f"{conf[_REDACTION]}|{named}"} if named else conf


def _process_conf(settings: SparkSettings) -> dict[str, str]:
    """Return the settings of a JVM that has to be started here: its memory, its options and Delta's JARs.

    With a local master the JARs are on the class path that the archive of classes was made for.
    """
    is_local = (settings.master or "local").partition("[")[0] == "local"
    archive = os.environ.get("FEATURELIB_CLASS_ARCHIVE", "") if is_local else ""
    logging = PROJECT / "conf" / "log4j2.properties"
    options = [
        _DEEP_STACKS,
        *([_LOCAL_JAVA] if is_local else []),
        *([_MAPPED_CLASSES.format(shlex.quote(archive))] if archive and Path(archive).is_file() else []),
        *(["-Dlog4j2.configurationFile=" + shlex.quote(str(logging))] if logging.is_file() else []),
    ]
    conf = {
        "spark.driver.memory": settings.driver_memory,
        "spark.driver.extraJavaOptions": " ".join(options),
    }
    if "delta-spark_" not in settings.conf.get("spark.jars.packages", ""):
        jars = delta_jars()
        conf |= (
            {"spark.driver.extraClassPath": os.pathsep.join(jars)}
            if is_local
            else {"spark.jars": ",".join(jars)}
        )
    return conf


def delta_jars(folder: str | None = None) -> list[str]:
    """Return the paths of the cached Delta JARs, in name order.

    Args:
        folder: where they are; by default ``FEATURELIB_JARS``, which ``spark-submit.sh`` sets, or the cache
            folder it uses.

    Raises:
        PreconditionError: the folder holds no delta-spark JAR.
    """
    place = Path(folder) if folder else jar_folder(os.environ)
    jars = sorted(str(path) for path in place.glob("*.jar"))
    if not any("delta-spark_" in jar for jar in jars):
        raise PreconditionError(
            f"no Delta JARs in {place}",
            "the files named in deploy/jars.sha256",
            "run ./spark-submit.sh doctor, which fetches them, or set FEATURELIB_JARS to their folder",
        )
    return jars


def jar_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder the Delta JARs are kept in, as ``spark-submit.sh`` works it out."""
    if environ.get("FEATURELIB_JARS"):
        return Path(environ["FEATURELIB_JARS"])
    if environ.get("FEATURELIB_CACHE"):
        return Path(environ["FEATURELIB_CACHE"]) / "jars"
    cache = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "featurelib" / "jars"
