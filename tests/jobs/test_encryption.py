"""Columns that are encrypted at rest: a cafe whose notes and amounts no file tells, and its features as ever."""

from __future__ import annotations

import hmac
import json
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pyspark.sql import functions as F

from featurelib.errors import ConfigError
from featurelib.pipeline.encrypted import readable, readable_rows
from featurelib.pipeline.erase import erase
from featurelib.pipeline.preview import preview
from featurelib.pipeline.restore import restore_table
from featurelib.pipeline.steps import run_step
from featurelib.pipeline.subjects import subject_of
from featurelib.registry.audit import Decision
from featurelib.tables import InjectedFault, content_hash, published, read, rows_of, snapshot
from featurelib.tables.faults import VARIABLE
from tests.jobs.cafe import cafe_context, features
from tests.jobs.cafe_project import DAYS, SOURCES, land, land_day
from tests.jobs.test_upkeep import texts_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import SparkSession

    from featurelib.pipeline.context import Context

NOTE = "wants-the-canary-cake-5f1c"
AMOUNT = "4711.125"
BAD = "canary-no-amount-77e0"
TABLES = ("bronze", "silver")
ENCRYPTION = """\
    encryption:
      columns: [amount, note]
      key: "${{secret:file/{key}}}"
      subject: customer
      reveals: ["*amount*"]
  weather:
"""


def project_files(key: Path, besides: str = "") -> Mapping[str, str]:
    """The cafe whose sales have encrypted columns."""
    said = ENCRYPTION.format(key=key).replace("      subject:", f"{besides}      subject:")
    quality = {"rules": {}, "gates": {"sales": {"max_quarantined": 1.0}}}
    of_visits = f'columns: [party], key: "${{secret:file/{key}}}", reveals: [party]'
    party = f"    encryption: {{{of_visits}{', ' * bool(besides)}{besides.strip()}}}\n"
    sources = SOURCES.replace("  sales:\n", f"{party}  sales:\n", 1)
    return {
        "cafe/sources.yaml": sources.replace("  weather:\n", said, 1),
        "cafe/quality.yaml": json.dumps(quality),
    }


def land_all(root: Path) -> None:
    """Five days of the cafe, with notes of ann and bob on the third, one row of them bad, one malformed."""
    for day in DAYS:
        land_day(root, day)
    day = DAYS[2]
    lines = [
        f"s3A,A,ann,{AMOUNT},{day}T09:00:00Z,{day}T10:00:00Z,{NOTE}",
        f"s3B,B,bob,3.7,{day}T12:00:00Z,{day}T13:00:00Z,{NOTE}",
        f"s3C,B,bob,{BAD},{day}T12:00:00Z,{day}T13:00:00Z,{NOTE}",
        f"s3D,B,bob,{BAD},{NOTE}",
    ]
    land(root, "sales", day, *lines)


@pytest.fixture(scope="module")
def sealed_root(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That cafe, loaded and built with encryption: the root, with its key beside it."""
    folder = tmp_path_factory.mktemp("sealed")
    key = folder / "cafe.key"
    key.write_text(secrets.token_hex(32))
    root = folder / "root"
    land_all(root)
    context = cafe_context(spark, root, changed=project_files(key))
    for step in ("ingest", "build_features", "build_training_set"):
        run_step(context, step)
    return root


@pytest.fixture
def sealed(spark: SparkSession, sealed_root: Path, tmp_path: Path) -> Context:
    """A copy of it, to be changed."""
    shutil.copytree(sealed_root, tmp_path / "root")
    shutil.copy(sealed_root.parent / "cafe.key", tmp_path / "cafe.key")
    return cafe_context(spark, tmp_path / "root", changed=project_files(tmp_path / "cafe.key"))


def sales(context: Context, table: str = "silver.sales") -> dict[str, tuple[object, object]]:
    """Amount and note of each sale, as they are read."""
    rows = readable(context, read(context.spark, context.store, table), table)
    return {row["sale_id"]: (row["amount"], row["note"]) for row in rows.collect()}


def named(root: Path, text: str) -> set[str]:
    """The files below a folder that say a text in any way, but for what landed."""
    found = {str(path.relative_to(root)) for path, said in texts_in(root) if text in said}
    return {path for path in found if not path.startswith("landing/")}


def test_no_file_tells_an_encrypted_value(sealed: Context, sealed_root: Path) -> None:
    """Values are read as they landed, and no byte of them is below the root but in the landing folder."""
    assert sales(sealed)["s3A"] == (float(AMOUNT), NOTE)
    assert sales(sealed, "silver.sales_quarantine") == {"s3C": (BAD, NOTE), None: (None, None)}
    bad = read(sealed.spark, sealed.store, "silver.sales_quarantine")
    reasons = {row["_reasons"][0] for row in bad.collect()}
    assert reasons == {
        "amount: '(encrypted)' is no double",
        "has another number of fields than its header",
    }
    for text in (NOTE, BAD):
        assert named(sealed_root, text) == set()
    assert not {path for path in named(sealed_root, AMOUNT) if path.split("/")[1] in TABLES}
    assert named(sealed_root, "s3A"), "the scan would find what is there"
    assert named(sealed_root, (sealed_root.parent / "cafe.key").read_text()) == set()


def test_the_features_are_those_of_values_in_clear(
    sealed: Context, spark: SparkSession, tmp_path: Path
) -> None:
    """Features, their incremental build after a new day and a training set are those without encryption."""
    plain_root = tmp_path / "plain"
    land_all(plain_root)
    plain = cafe_context(
        spark, plain_root, changed={"cafe/quality.yaml": project_files(Path("x"))["cafe/quality.yaml"]}
    )
    late = f"s1Z,A,bob,8.25,{DAYS[0]}T08:00:00Z,2024-01-06T13:00:00Z,late"
    for context in (plain, sealed):
        root = Path(context.project.settings.root)
        steps = ("ingest", "build_features")
        for step in steps if context is plain else ():
            run_step(context, step)
        land_day(root, "2024-01-06", without="sales")
        land(root, "sales", "2024-01-06", late)
        for step in steps:
            done = run_step(context, step)
        said = "amount of sales is encrypted, and decrypted in Spark's scan" in done.facts["plan"]
        assert said == (context is sealed)
    dropped = ("_features_hash",)
    ours, theirs = (
        sorted(map(repr, features(context).drop(*dropped).collect())) for context in (sealed, plain)
    )
    assert len(ours) == 24
    assert ours == theirs
    views, columns = sealed.project.views[:1], ["visit_id", "shop_sales__amount_sum_2d"]
    shown, plainly = (
        preview(one.project, views, one.store, rows=5, before=None).select(columns) for one in (sealed, plain)
    )
    assert shown.height == 5
    assert shown.equals(plainly)


def test_what_is_loaded_again_is_equal_to_the_bit(sealed: Context) -> None:
    """A lost table is made again from the landed files, and every cell of all three tables is the same bytes."""

    def contents() -> list[tuple[int, str]]:
        tables = ("bronze.sales", "silver.sales", "silver.sales_quarantine")
        return [content_hash(read(sealed.spark, sealed.store, name).drop("_run_id")) for name in tables]

    before, files = contents(), Path(sealed.store.path("silver.sales"))
    shutil.rmtree(files)
    restore_table(sealed, "silver.sales", Decision("eva", "the disk was lost"))
    run_step(sealed, "ingest")
    assert contents() == before
    assert [rows for rows, _ in before] == [12, 10, 2]


def test_what_uses_no_encrypted_column_needs_no_key(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load that dies makes no data key twice; then features of other columns are built though the key is gone."""
    root, key = tmp_path / "root", tmp_path / "cafe.key"
    key.write_text(secrets.token_hex(32))
    for day in DAYS[:2]:
        land_day(root, day)
    only_note = f'    encryption: {{columns: [note], key: "${{secret:file/{key}}}", subject: customer}}\n'
    sources = SOURCES.replace("  weather:\n", f"{only_note}  weather:\n", 1)
    context = cafe_context(spark, root, changed={"cafe/sources.yaml": sources})
    monkeypatch.setenv(VARIABLE, "raise:write.bronze.sales.before")
    with pytest.raises(InjectedFault):
        run_step(context, "ingest")
    monkeypatch.delenv(VARIABLE)
    made = sorted(row["key_id"] for row in rows_of(context.store, "ops.data_keys"))
    assert len(made) == 4, "an index key, one of nobody's rows, ann's and bob's"
    run_step(context, "ingest")
    assert sorted(row["key_id"] for row in rows_of(context.store, "ops.data_keys")) == made
    key.unlink()
    built = run_step(context, "build_features")
    assert "is encrypted" not in built.facts["plan"]
    sums = {row["visit_id"]: row["shop_sales__amount_sum_2d"] for row in features(context).collect()}
    assert (sums["A1m"], sums["A2e"], sums["B2e"]) == (None, 1.1 + 2.1, 1.7 + 2.7)


def test_a_cell_opens_with_the_plain_cipher(sealed: Context, tmp_path: Path) -> None:
    """An oracle of the package ``cryptography`` alone unwraps a data key and opens a cell, as docs/tables.md says."""

    def about(*parts: str) -> bytes:
        return b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)

    master = bytes.fromhex((tmp_path / "cafe.key").read_text())
    (row,) = [
        row
        for file in snapshot(sealed.store, "silver.sales", published(sealed.store)["silver.sales"]).files
        for row in pq.read_table(file.path).to_pylist()
        if row["sale_id"] == "s3A"
    ]
    cell = row["note"]
    assert cell[:1] == b"\x01"
    (key,) = [one for one in rows_of(sealed.store, "ops.data_keys") if one["key_id"] == cell[1:17].hex()]
    whose = about("featurelib data key", "sales", key["key_id"], "subject", key["subject"])
    wrapped = bytes.fromhex(key["wrapped"])
    wrapping = AESGCM(hmac.digest(master, b"featurelib key wrapping", "sha256"))
    secret = wrapping.decrypt(wrapped[:12], wrapped[12:], whose)
    place = about("featurelib cell", "silver.sales.note", row["_file"]) + row["_row"].to_bytes(8, "big")
    cipher = AESGCM(hmac.digest(secret, b"featurelib cell encryption", "sha256"))
    assert cipher.decrypt(cell[17:29], cell[29:], place).decode() == NOTE
    nonce = hmac.digest(
        hmac.digest(secret, b"featurelib cell nonce", "sha256"), place + NOTE.encode(), "sha256"
    )
    assert cell[17:29] == nonce[:12]


def test_an_erased_subject_is_shredded_in_every_copy(
    sealed: Context, spark: SparkSession, tmp_path: Path
) -> None:
    """A copy of silver made before an erasure reads null where the subject's values were; others stay."""
    before = read(spark, sealed.store, "silver.sales")
    before.write.format("parquet").save(str(tmp_path / "backup"))
    eve = subject_of(sealed.project, {"customer": "ann"})
    done = erase(sealed, eve, request="R-7", decision=Decision("eva", "by letter"))
    assert done.rows["ops.data_keys"] == 1
    copy = readable(sealed, spark.read.parquet(str(tmp_path / "backup")), "silver.sales")
    read_again = {row["sale_id"]: (row["amount"], row["note"]) for row in copy.collect()}
    assert read_again["s3A"] == (None, None)
    assert read_again["s3B"] == (3.7, NOTE)
    keys = rows_of(sealed.store, "ops.data_keys")
    assert [key["request"] for key in keys if key["wrapped"] is None] == ["R-7"]
    history = Path(sealed.store.path("ops.data_keys"))
    assert len(list(history.glob("*.parquet"))) == 1


def test_a_wrong_key_and_a_changed_cell_are_refused(
    sealed: Context, spark: SparkSession, tmp_path: Path
) -> None:
    """Neither gives values: the one names the reference, the other the data key, and none the key or a value."""
    rows = read(spark, sealed.store, "silver.sales")
    flipped = F.expr("concat(substring(note, 1, length(note) - 1), X'00')")
    moved = rows.withColumn("_row", F.col("_row") + 1)
    for changed in (rows.withColumn("note", flipped), moved):
        with pytest.raises(Exception, match="fails its check"):
            readable(sealed, changed, "silver.sales").select("note").collect()
    (tmp_path / "cafe.key").write_text(secrets.token_hex(32))
    with pytest.raises(
        ConfigError, match=r"wrapped by a key with fingerprint [0-9a-f]{16}; given: .*cafe\.key"
    ):
        readable_rows(sealed.project, sealed.store)("sales", frozenset({"note"}))
    assert readable_rows(sealed.project, sealed.store)("sales", frozenset({"shop"})).height == 10
    (tmp_path / "cafe.key").unlink()
    with pytest.raises(Exception, match=r"cafe\.key cannot be read"):
        sales(sealed)


def test_data_keys_are_wrapped_again_by_a_new_key(
    sealed: Context, spark: SparkSession, tmp_path: Path
) -> None:
    """After the next load the old key is needed no more, and no cell was written anew."""
    new = tmp_path / "new.key"
    new.write_text(secrets.token_hex(32))
    files = snapshot(sealed.store, "silver.sales", published(sealed.store)["silver.sales"]).files
    old = f'      previous_keys: ["${{secret:file/{tmp_path}/cafe.key}}"]\n'
    root = Path(sealed.project.settings.root)
    rotating = cafe_context(spark, root, changed=project_files(new, old))
    assert sales(rotating)["s3A"] == (float(AMOUNT), NOTE)
    land_day(root, "2024-01-06")
    run_step(rotating, "ingest")
    rotated = cafe_context(spark, root, changed=project_files(new))
    (tmp_path / "cafe.key").unlink()
    assert sales(rotated)["s3A"] == (float(AMOUNT), NOTE)
    now = snapshot(sealed.store, "silver.sales", published(sealed.store)["silver.sales"]).files
    assert {file.path for file in files} <= {file.path for file in now}
