"""Twenty secrets and a key of encrypted columns go through a whole run; none is found anywhere afterwards."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest

from tests.chaos import stand

PROJECT = Path(__file__).resolve().parents[2]

IN_SPARK_CONF = (
    "spark.hadoop.fs.s3a.secret.key",
    "spark.hadoop.fs.s3a.session.token",
    "spark.hadoop.fs.s3a.encryption.key",
    "spark.hadoop.fs.azure.account.key.store.example",
    "spark.hadoop.fs.gs.auth.service.account.private.key",
    "spark.ssl.keyStorePassword",
    "spark.ssl.trustStorePassword",
    "spark.ssl.keyPassword",
    "spark.hadoop.javax.jdo.option.ConnectionPassword",
    "spark.executorEnv.DB_PASSWORD",
    "spark.acme.login",
    "spark.acme.connection",
)
"""Names that Spark or a connector reads a secret from; the last two do not sound like one."""
IN_SETTINGS = ("mlflow_token", "warehouse")
IN_ENVIRONMENT = (
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_KEY",
    "GITHUB_TOKEN",
)


KEY = b"cAnArY-of-an-AES-key-q7Zx-007919"
ENCRYPTED = """\
tables:
  visits:
    encryption: {columns: [tip], key: "${secret:env/CANARY_KEY}", subject: shop, reveals: ["*"]}
"""


def canary(number: int) -> str:
    """A value that nothing else holds."""
    return f"cAnArY{number:02d}q7Zx{number * 7919:06d}"


def forms(secret: str) -> list[bytes]:
    """The secret as it is, and as it would stand in an address or a header."""
    encoded = base64.b64encode(secret.encode())
    return [secret.encode(), quote(secret).encode(), encoded.rstrip(b"="), secret.encode("utf-16-le")]


class Watched:
    """What processes are started with, as others on the machine can read it, until it is closed."""

    def __init__(self) -> None:
        self._end = threading.Event()
        self.seen: set[bytes] = set()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._end.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(path.read_bytes())
                except OSError:
                    continue

    def close(self) -> None:
        self._end.set()
        self._thread.join()


def texts_of(path: Path) -> Iterator[bytes]:
    """A file's bytes, and what its compression hides."""
    yield path.read_bytes()
    if path.suffix == ".parquet":
        yield str(pq.read_table(path).to_pydict()).encode()


def found_in(root: Path, secrets: Mapping[str, str]) -> list[str]:
    """The files below a folder that hold a secret in any form, and whose."""
    return [
        f"{path.relative_to(root)}: {door}"
        for path in sorted(root.rglob("*"))
        if path.is_file()
        for text in texts_of(path)
        for door, secret in secrets.items()
        if any(form in text for form in forms(secret))
    ]


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads command lines from /proc")
def test_twenty_secrets_leave_no_byte_behind(tmp_path: Path) -> None:
    """Not in tables, logs, plans, reports, MLflow, event logs, command lines, nor in what commands print."""
    doors = [*IN_SPARK_CONF, *IN_SETTINGS, *IN_ENVIRONMENT]
    secrets = {door: canary(number) for number, door in enumerate(doors)}
    assert len(set(secrets.values())) == 20
    values = {f"CANARY_{n}": secrets[door] for n, door in enumerate([*IN_SPARK_CONF, *IN_SETTINGS])}
    values["CANARY_11"] = f"jdbc:db://user:{values['CANARY_11']}@db.example/x"
    assert len(KEY) == 32
    values["CANARY_KEY"] = KEY.hex()
    root, events, said = tmp_path / "store", tmp_path / "events", tmp_path / "said"
    for folder in (root, events, said):
        folder.mkdir()
    stand.land(root)
    given = "\n".join(f'    {key}: "${{secret:env/CANARY_{n}}}"' for n, key in enumerate(IN_SPARK_CONF))
    named = "\n".join(
        f'  {key}: "${{secret:env/CANARY_{n}}}"' for n, key in enumerate(IN_SETTINGS, len(IN_SPARK_CONF))
    )
    (root / "conf" / "env" / "local.yaml").write_text(
        f"spark:\n  master: 'local[2]'\n  conf:\n{given}\n"
        f"    spark.eventLog.enabled: 'true'\n    spark.eventLog.dir: '{events.as_uri()}'\n"
        f"    spark.eventLog.compress: 'false'\nsecrets:\n{named}\n{ENCRYPTED}"
    )
    (root / "conf" / "env" / "unset.yaml").write_text(
        f"spark:\n  conf:\n{given}\n    spark.other.login: ${{secret:env/NONE}}\n"
    )
    environment = {**os.environ, **values, **{name: secrets[name] for name in IN_ENVIRONMENT}}
    options = ["--pipeline", str(root / "conf" / "stand"), "-c", f"root={root}"]
    commands = {
        "run": ["run", "--as-of", "2024-01-10"],
        "plan": ["plan", "--as-of", "2024-01-11"],
        "config": ["config", "--print"],
        "models": ["models", "--json"],
        "storage": ["storage"],
        "refused": ["config", "-c", f"secrets.other={secrets['GITHUB_TOKEN']}"],
        "unset": ["run", "--as-of", "2024-01-10", "--env", "unset"],
    }
    watched = Watched()
    codes = {}
    for name, words in commands.items():
        with (said / name).open("wb") as out:
            child = subprocess.run(
                [sys.executable, "-m", "featurelib.cli", *words, *options],
                check=False,
                cwd=PROJECT,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=600,
            )
        codes[name] = child.returncode
    watched.close()
    assert codes == {**dict.fromkeys(commands, 0), "refused": 2, "unset": 2}, (said / "run").read_text()[
        -3000:
    ]
    assert any(b"SparkSubmit" in line for line in watched.seen), "no command line of Spark's was seen"
    ours = [line for line in watched.seen if b"featurelib" in line or b"SparkSubmit" in line]
    # The one secret that a user wrote on a command line is on it; everything else is ours.
    ours = [line for line in ours if b"secrets.other" not in line]
    secrets |= {"key": KEY.decode(), "key in hex": KEY.hex(), "key in HEX": KEY.hex().upper()}
    leaked = [door for door, secret in secrets.items() if any(secret.encode() in line for line in ours)]
    assert leaked == []
    logged = [path for path in events.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in logged) > 100_000, "no event log was written"
    assert any(b"spark.acme.login" in path.read_bytes() for path in logged), "the settings were not logged"
    assert any(b"visits.tip" in path.read_bytes() or b"seal" in path.read_bytes() for path in logged)
    assert list((root / "tables" / "ops" / "data_keys").glob("*.parquet")), "nothing was encrypted"
    assert found_in(tmp_path, secrets) == []
