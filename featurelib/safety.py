"""What Spark must have switched on where others can reach it: none of it is by default.

The settings looked at are those of the environment's files and, below them, of the cluster's own
``spark-defaults.conf``. What a cluster forces by other means (an image, a policy) cannot be seen from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from featurelib.config import load_project, secret_base
from featurelib.encryption.keys import master_key
from featurelib.errors import ConfigError
from featurelib.references import SECRET
from featurelib.specs import RunSettings

__all__ = ["Finding", "findings", "key_findings", "refuse_unsafe_writers", "spark_defaults"]

_GCM = "AES/GCM/NoPadding"
_IN_CONF = "set it in spark.conf of conf/env/{env}.yaml, or in the cluster's spark-defaults.conf"
_LOG_STORE = re.compile(r"spark\.delta\.logStore\.(class|s3[an]?\.impl)")
_S3_LOG_STORES = ("io.delta.storage.S3SingleDriverLogStore", "io.delta.storage.S3DynamoDBLogStore")
_YES = frozenset({"true", "1", "yes", "on", "t", "y"})
_UNSAFE_ON_S3 = {
    "AWS_S3_ALLOW_UNSAFE_RENAME": _YES,
    "AWS_CONDITIONAL_PUT": frozenset({"disabled"}),
    "AWS_COPY_IF_NOT_EXISTS": frozenset({"none"}),
}
_WORDS = ("secret", "password", "token", "credential", "api_key", "account.key", "s3://me:word@bucket")


@dataclass(frozen=True)
class Finding:
    """What was found of one promise, and where it does not hold what to do."""

    name: str
    holds: bool
    found: str
    expected: str = ""
    fix: str = ""


def findings(folder: Path, env: str, environ: Mapping[str, str]) -> list[Finding]:
    """Return what protects an environment, promise by promise; nothing to say of a local master.

    Args:
        folder: of a pipeline.
        env: the environment.
        environ: where secrets and Spark's own folders are looked up.
    """
    try:
        settings = load_project(folder, env=env, environ=environ).settings
    except ConfigError as error:
        first = str(error).partition("\n")[0]
        fix = f"featurelib config --env {env} lists what is wrong"
        return [Finding("configuration", holds=False, found=first, expected="one without faults", fix=fix)]
    if (settings.spark.master or "").startswith("local"):
        return []
    conf = {**spark_defaults(environ), **settings.spark.conf}
    return [*_of_spark(conf, env), *_of_secrets(settings, environ)]


def key_findings(folder: Path, env: str, environ: Mapping[str, str]) -> list[Finding]:
    """Return whether every key that a pipeline's encryption refers to is there and has 32 bytes.

    Args:
        folder: of a pipeline.
        env: the environment.
        environ: where variables are looked up.
    """
    try:
        project = load_project(folder, env=env, environ=environ)
    except ConfigError:
        return []  # featurelib config lists what is wrong
    found = []
    for name, table in project.tables.items():
        encryption = table.encryption
        for reference in () if encryption is None else (encryption.key, *encryption.previous_keys):
            what = f"key {reference} of {folder.name}.{name}"
            try:
                fingerprint = master_key(reference, environ, base=secret_base(project)).fingerprint
            except ConfigError as error:
                found.append(Finding(what, False, error.given, error.expected, error.action))  # noqa: FBT003
            else:
                found.append(Finding(what, True, f"32 bytes, fingerprint {fingerprint}"))  # noqa: FBT003
    return found


def refuse_unsafe_writers(settings: RunSettings, environ: Mapping[str, str]) -> None:
    """Refuse what would let two writers to S3 both take a commit for theirs; other stores pass.

    Writers of this library take turns by locks in ``work``. Whatever else writes, and a run that outlives
    its lease, is kept away by the log alone, so that must not be switched off.

    Raises:
        ConfigError: a setting does so; the message names it.
    """
    if not re.match(r"s3[an]?://", settings.root):
        return
    for key, value in settings.spark.conf.items():
        if _LOG_STORE.fullmatch(key) and value not in _S3_LOG_STORES:
            raise ConfigError(
                f"{key} is {value!r}, and the root {settings.root!r}: it may overwrite a commit there",
                f"one of {', '.join(_S3_LOG_STORES)}",
                "take the setting out, or name the store that all writers of these tables use",
            )
    for name, unsafe in _UNSAFE_ON_S3.items():
        value = environ.get(name, "")
        if value.strip().lower() in unsafe:
            raise ConfigError(
                f"the environment variable {name} is {value!r}, and the root {settings.root!r}: "
                "a commit may overwrite another one there",
                "commits that fail where the version exists",
                f"unset {name}",
            )


def spark_defaults(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of the cluster's own file, none where there is no such file."""
    home = environ.get("SPARK_CONF_DIR") or (
        str(Path(environ["SPARK_HOME"]) / "conf") if environ.get("SPARK_HOME") else None
    )
    path = None if home is None else Path(home) / "spark-defaults.conf"
    if path is None or not path.is_file():
        return {}
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    pairs = (re.split(r"[\s=]+", line, maxsplit=1) for line in lines if line and not line.startswith("#"))
    return {pair[0]: pair[1] for pair in pairs if len(pair) > 1}


def _of_spark(conf: Mapping[str, str], env: str) -> Iterator[Finding]:
    def on(key: str, default: str = "false") -> bool:
        return conf.get(key, default).lower() == "true"

    fix = _IN_CONF.format(env=env)
    yield _finding("who may talk to Spark", on("spark.authenticate"), "spark.authenticate: true", fix)
    cipher = conf.get("spark.network.crypto.cipher", _GCM)
    wire = (on("spark.network.crypto.enabled") and cipher == _GCM) or on("spark.ssl.rpc.enabled")
    yield _finding(
        "what crosses the wire",
        wire,
        f"spark.network.crypto.enabled: true with cipher {_GCM}, or spark.ssl.rpc.enabled: true",
        fix,
    )
    disk = "spark.io.encryption.enabled: true"
    yield _finding("what Spark spills to disk", on("spark.io.encryption.enabled"), disk, fix)
    ui = not on("spark.ui.enabled", "true") or on("spark.acls.enable") or "spark.ui.filters" in conf
    yield _finding(
        "who may open Spark's UI",
        ui,
        "spark.ui.enabled: false, spark.acls.enable: true, or a filter in spark.ui.filters",
        fix,
    )
    rest = "spark.master.rest.enabled: false, for submission by it asks for no password"
    yield _finding("submission by REST", not on("spark.master.rest.enabled"), rest, fix)
    own = [conf[key] for key in ("spark.redaction.regex", "spark.redaction.string.regex") if key in conf]
    redacts = all(re.search(text, word) for text in own for word in _WORDS)
    yield _finding(
        "what event logs blot out",
        redacts,
        "a spark.redaction.regex that finds passwords, keys, tokens and addresses with them",
        "leave spark.redaction.regex to the session, which sets one that does",
    )


def _of_secrets(settings: RunSettings, environ: Mapping[str, str]) -> Iterator[Finding]:
    given = {**settings.spark.conf, **settings.secrets}
    names = {match[1] for value in given.values() if (match := SECRET.fullmatch(value)) and match[1]}
    for name in sorted(names):
        yield _finding(
            f"secret {name}", bool(environ.get(name)), "a value in the environment", f"export {name}=..."
        )


def _finding(name: str, holds: bool, expected: str, fix: str) -> Finding:  # noqa: FBT001 - what it is about
    return Finding(name, holds, "as it should be" if holds else "not so", expected, fix)
