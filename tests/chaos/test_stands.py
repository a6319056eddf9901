"""The checks behind the deaths of a whole pipeline see what they are for; the deaths themselves are benchmarks.chaos."""

from __future__ import annotations

import pytest

from tests.chaos.stands import REGISTRY, in_order, torn

BEFORE = {"silver.a": ["1"], REGISTRY: []}
BEHIND = {"silver.a": ["1"], "features.b": ["2"], "features.c": ["3"], REGISTRY: []}
VERSION = '["versions", "tips", 1]'


@pytest.mark.parametrize(
    ("change", "odd"),
    [
        ({}, []),
        ({"features.b": ["2"], "features.c": ["3"]}, []),
        ({REGISTRY: [VERSION, '["aliases", "tips", "champion", 1]', "a-submission"]}, []),
        ({"features.b": ["2"]}, ["features.b without features.c"]),
        ({"silver.a": ["1", "1"]}, ["silver.a holds other rows"]),
        ({"silver.a": None}, ["silver.a is gone"]),
        ({"silver.d": []}, ["silver.d holds other rows"]),
        (
            {"features.b": [], "features.c": ["3"]},
            ["features.b holds other rows", "features.c without features.b"],
        ),
        (
            {REGISTRY: [VERSION, '["aliases", "tips", "champion", 2]']},
            ["alias champion of tips names no version"],
        ),
    ],
)
def test_what_is_torn_is_named(change: dict[str, list[str] | None], odd: list[str]) -> None:
    """Before or behind a step as a whole is well; half of a step, a row twice, a lost table, an alias of nothing is not."""
    now = {name: rows for name, rows in {**BEFORE, **change}.items() if rows is not None}
    assert torn(now, BEFORE, BEHIND) == odd


def test_a_death_behind_a_write_leads_to_a_restore() -> None:
    """The points of the recovery come where a death has given it something to do."""
    assert list(in_order(["begin.leased", "write.a.b.before", "write.a.b.after", "publish.before"])) == [
        "begin.leased", "write.a.b.before", "write.a.b.after",
        "restore.a.b.before", "restore.a.b.after", "publish.before",
    ]  # fmt: skip
