"""What encryption may be declared, and what of it is refused at load, with file, line and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from featurelib.config import ConfigErrors, explain_config, load_project, render_settings, spec_hash
from featurelib.errors import ConfigError
from featurelib.references import secret_behind
from featurelib.specs import LandedTable
from tests.unit.shop_project import SOURCES, write_project

REFERENCE = "${secret:env/SHOP_KEY}"
CANARY = "a3" * 32


def with_encryption(folder: Path, said: str) -> Path:
    """The shop with an encryption of its orders."""
    adds = "    transform_adds: {day: date}\n"
    marked = SOURCES.replace(
        adds, f"{adds}    transform_reads: {{day: [ordered_ts]}}\n    encryption: {said}\n"
    )
    return write_project(folder, {"shop/sources.yaml": marked})


def refused(folder: Path, said: str) -> list[tuple[str, str]]:
    """The key and the fault of each problem of such a shop."""
    with pytest.raises(ConfigErrors) as caught:
        load_project(with_encryption(folder, said), environ={})
    return [(problem.path, f"{problem.given} {problem.action}") for problem in caught.value.problems]


REVEALED = f"{{columns: [amount, per_item, dear], key: '{REFERENCE}', subject: customer, reveals: ['*']}}"


def test_what_is_declared_is_held_and_a_table_without_it_is_as_before(tmp_path: Path) -> None:
    """The project holds the reference; a table without encryption keeps the identity it had before there was any."""
    project = load_project(with_encryption(tmp_path, REVEALED), environ={})
    encryption = project.tables["orders"].encryption
    assert encryption is not None
    assert (encryption.key, encryption.subject) == (REFERENCE, "customer")
    assert project.tables["orders"].encrypted == ("amount", "per_item", "dear")
    assert "encryption" not in LandedTable(landing="x", columns={"a": "int"}).model_dump()
    assert len(spec_hash(project)) == 64


@pytest.mark.parametrize("given", [CANARY, "a-passphrase-of-mine", "${env:SHOP_KEY}"])
@pytest.mark.parametrize("place", ["key: '{}'", "key: '${{secret:env/A}}', previous_keys: ['{}']"])
def test_a_key_written_out_is_refused_and_not_repeated(tmp_path: Path, place: str, given: str) -> None:
    """Whatever it looks like; also one that an environment variable would write into the configuration."""
    said = f"{{columns: [amount], {place.format(given)}}}"
    environ = {"SHOP_KEY": CANARY}
    folder = with_encryption(tmp_path, said)
    with pytest.raises(ConfigErrors) as caught:
        load_project(folder, environ=environ)
    assert "tables.orders.encryption" in str(caught.value)
    assert "not shown" in str(caught.value)
    shown = render_settings(explain_config(folder, environ=environ))
    for text in (str(caught.value), shown):
        assert CANARY not in text
        assert "passphrase" not in text


@pytest.mark.parametrize(
    ("said", "at", "why"),
    [
        pytest.param(
            "columns: [amont]", "columns.0", "no column 'amont'. Did you mean 'amount'?", id="unknown"
        ),
        pytest.param("columns: [items, items]", "columns.1", "given twice", id="twice"),
        pytest.param("columns: [customer]", "columns.0", "a key of entity customer", id="entity key"),
        pytest.param("columns: [order_id]", "columns.0", "a key of the spine", id="spine key"),
        pytest.param("columns: [ordered_ts]", "columns.0", "as_of_ts", id="moment"),
        pytest.param("columns: [settled_ts]", "columns.0", "known_ts", id="known_ts"),
        pytest.param("columns: [amount]", "columns", "dear, per_item", id="computed of it"),
        pytest.param("columns: [items], subject: nobody", "subject", "no landed column", id="no subject"),
        pytest.param("columns: [items], subject: amount", "subject", "is a double", id="subject of doubles"),
        pytest.param(
            "columns: [items], subject: order_id", "subject", "no entity", id="subject of no entity"
        ),
    ],
)
def test_what_does_not_fit_is_refused_where_it_stands(tmp_path: Path, said: str, at: str, why: str) -> None:
    """Keys and instants stay in clear, computed columns are encrypted too, a subject can be erased."""
    problems = refused(tmp_path, f"{{{said}, key: '{REFERENCE}', reveals: ['*']}}")
    assert any(path == f"tables.orders.encryption.{at}" and why in text for path, text in problems), problems


def test_values_that_would_stay_in_clear_have_to_be_named(tmp_path: Path) -> None:
    """Every feature, spine column and label of an encrypted column, derived ones too; a pattern for nothing is a fault."""
    key = f"key: '{REFERENCE}'"
    columns = "columns: [amount, per_item, dear]"
    (found,) = refused(tmp_path / "a", f"{{{columns}, {key}}}")
    assert found[0] == "tables.orders.encryption.reveals" or found[0].startswith("tables.orders.encryption")
    assert "spending__" in found[1]
    assert "reveals" in found[1]
    (label,) = refused(tmp_path / "b", f"{{columns: [returned_items], {key}}}")
    assert label[1].startswith("returned: made of encrypted columns")
    (idle,) = refused(
        tmp_path / "c", f"{{columns: [amount, per_item, dear], {key}, reveals: ['*', 'spendin']}}"
    )
    assert idle == ("tables.orders.encryption.reveals.1", idle[1])
    assert "'spendin' reveals nothing" in idle[1]


def test_a_secret_in_a_file_is_read_where_it_is_used(tmp_path: Path) -> None:
    """Relative paths start at the base; without one they are refused; a missing file is named, no content is."""
    (tmp_path / "key").write_text("  abc\n")
    assert secret_behind("${secret:file/key}", {}, base=tmp_path) == "abc"
    assert secret_behind(f"${{secret:file/{tmp_path}/key}}", {}) == "abc"
    assert secret_behind("${secret:env/A}", {"A": "x"}) == "x"
    with pytest.raises(ConfigError, match="a relative path"):
        secret_behind("${secret:file/key}", {})
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        secret_behind("${secret:file/absent}", {}, base=tmp_path)
