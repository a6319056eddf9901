"""``why`` lists the very events of each window, and says of every other event why it is left out."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from featurelib.errors import ConfigError
from featurelib.pipeline.why import rendered, why
from featurelib.specs import Project
from tests.unit.shop_project import MODELS
from tests.without_spark.test_without_spark import CUSTOMERS, ORDERS, at, project_in, silver_of

LATER = [
    {"order_id": "o6", "customer": "ann", "amount": 7.0, "ordered_ts": at(7), "settled_ts": at(8)},
    {"order_id": "o7", "customer": "ann", "amount": 1.0, "ordered_ts": None, "settled_ts": at(1)},
    {
        "order_id": "o8",
        "customer": "ann",
        "amount": float("nan"),
        "ordered_ts": at(4),
        "settled_ts": at(4, 5),
    },
]


def test_every_event_of_the_entity_is_in_a_window_or_has_a_reason(tmp_path: Path) -> None:
    """Too old, not yet known, not yet happened, null, without an instant, filtered: each says so."""
    project = project_in(tmp_path)
    silver = silver_of(project, orders=[*ORDERS, *LATER], customers=CUSTOMERS)

    answer = why(project, project.views[0], {"customer": "ann"}, at(6, 1), silver)

    told = [(event.event_ts, event.windows, event.left_out) for event in answer.events]
    assert told == [
        (at(7), (), ("not yet happened",)),
        (at(5), ("30d", "lifetime", "7d"), ("too old for 1d",)),
        (at(4), ("lifetime", "7d"), ("too old for 1d", "amount is null")),
        (at(3), (), ("not yet known",)),
        (at(3), (), ("filtered by where",)),
        (at(1), ("30d", "lifetime", "7d"), ("too old for 1d",)),
        (None, (), ("no event_ts",)),
    ]
    assert answer.features["spending__amount_sum_30d"] == 65.0
    assert answer.features["spending__count_7d"] == 3


def test_latest_takes_one_row(tmp_path: Path) -> None:
    """The newest visible row is the latest; the others are older, or beyond max_age, or filtered."""
    project = project_in(tmp_path)
    silver = silver_of(
        project,
        orders=[],
        customers=[*CUSTOMERS, {"customer": "ann", "joined": 2001, "changed_ts": at(2)}, {"customer": "ann", "joined": 2002, "changed_ts": at(1).replace(year=2020)}],
    )  # fmt: skip
    answer = why(project, project.views[1], {"customer": "ann"}, at(6), silver)
    assert answer.features == {"facts__joined_year_latest": 2001}
    assert [(event.values["joined_year"], event.windows, event.left_out) for event in answer.events] == [
        (1980, (), ("filtered by where",)),
        (2001, ("latest",), ()),
        (1999, (), ("a newer row is the latest",)),
        (2002, (), ("older than max_age 400d",)),
    ]


def test_rendered_shows_the_events_around_the_question(tmp_path: Path) -> None:
    """Features first, then at most so many events, and how many more there are."""
    project = project_in(tmp_path)
    silver = silver_of(project, orders=ORDERS, customers=CUSTOMERS)
    text = rendered(why(project, project.views[0], {"customer": "ann"}, at(5), silver), rows=2)
    assert "spending of customer ann as of 2024-05-05T00:00:00Z, source orders" in text
    assert "spending__amount_sum_30d     60\n" in text
    assert "4 events of this entity, 1 in a window; newest first" in text
    assert text.endswith("2 more (--rows)")


def test_filtered_events_of_the_future_do_not_hide_the_question(tmp_path: Path) -> None:
    """The list is placed by time: the newest event before the moment is in it."""
    project = project_in(tmp_path)
    future = [
        {"order_id": f"f{day}", "customer": "ann", "ordered_ts": at(day), "settled_ts": at(day)}
        for day in range(10, 20)
    ]
    silver = silver_of(project, orders=[*ORDERS, *future], customers=CUSTOMERS)
    text = rendered(why(project, project.views[0], {"customer": "ann"}, at(6), silver), rows=3)
    assert "2024-05-05T00:00:00Z  2024-05-06T00:00:00Z" in text


def test_an_entity_needs_every_key(tmp_path: Path) -> None:
    """A wrong key is answered with the keys of the view."""
    project = project_in(tmp_path)
    silver = silver_of(project, orders=ORDERS, customers=CUSTOMERS)
    with pytest.raises(ConfigError, match="customer=VALUE"):
        why(project, project.views[0], {"custmer": "ann"}, at(5), silver)


MODIFIED = """\
views:
  spending:
    entity: customer
    source: orders
    delay: 1h
    aggregations:
      - {input: amount, ops: [sum], windows: ["last 2", 30d]}
      - {input: amount, name: small, ops: [count], windows: [30d], where: amount < 50}
      - {input: amount, ops: [count], windows: [30d], by: big, values: [0, 1]}
"""


def test_windows_of_every_kind_list_their_events(tmp_path: Path) -> None:
    """Counts of events, conditions, splits and delays: the events listed are those the features count."""
    rows = [
        {
            "order_id": f"o{day}",
            "customer": "ann",
            "amount": 10.0 * day,
            "ordered_ts": at(day),
            "settled_ts": at(day),
        }
        for day in (1, 4, 6, 8)
    ]
    models = MODELS.replace('"spending__*", "facts__*"', '"spending__*"')
    project = project_in(tmp_path, {"shop/features.yaml": MODIFIED, "shop/models.yaml": models})
    silver = silver_of(project, orders=rows, customers=CUSTOMERS)

    answer = why(project, project.views[0], {"customer": "ann"}, at(8, 1), silver)

    assert dict(answer.features) == {
        "spending__amount_sum_last2": 100.0,
        "spending__amount_sum_30d": 110.0,
        "spending__small_count_30d": 2,
        "spending__amount_count_30d_by_big_0": 2,
        "spending__amount_count_30d_by_big_1": 1,
    }
    assert [(event.values["amount"], event.windows, event.left_out) for event in answer.events] == [
        (80.0, (), ("within the delay of 1h",)),
        (60.0, ("last 2", "30d", "30d big=1"), ("not amount < 50",)),
        (40.0, ("last 2", "30d", "30d where amount < 50", "30d big=0"), ()),
        (10.0, ("30d", "30d where amount < 50", "30d big=0"), ("not among the last 2",)),
    ]


INCLUSIVE = """\
views:
  spending:
    entity: customer
    source: orders
    boundary: inclusive
    aggregations:
      - {input: amount, ops: [count], windows: [1d, "last 2"]}
"""


def shop_with(folder: Path, features: str) -> Project:
    """The shop project with one view, which no model takes."""
    models = MODELS.replace('"spending__*", "facts__*"', '"!*__*"')
    return project_in(folder, {"shop/features.yaml": features, "shop/models.yaml": models})


def order(number: int, ordered: datetime, settled: datetime, amount: float | None = 1.0) -> dict[str, Any]:
    """An order of ann."""
    return {
        "order_id": f"o{number}",
        "customer": "ann",
        "amount": amount,
        "ordered_ts": ordered,
        "settled_ts": settled,
    }


def test_an_inclusive_boundary_sees_what_happens_or_is_known_at_the_very_moment(tmp_path: Path) -> None:
    """At noon, an order of noon and one settled at noon are in; a second later neither would be yet."""
    project = shop_with(tmp_path, INCLUSIVE)
    rows = [
        order(1, at(8, 12), at(8, 12)),
        order(2, at(8, 11), at(8, 12)),
        order(3, at(8, 11), at(8, 13)),
        order(4, at(7, 12), at(7, 13)),
        order(5, at(7, 11), at(7, 12)),
        order(6, at(8, 13), at(8, 13)),
    ]
    silver = silver_of(project, orders=rows, customers=[])

    answer = why(project, project.views[0], {"customer": "ann"}, at(8, 12), silver)

    assert dict(answer.features) == {"spending__amount_count_1d": 3, "spending__amount_count_last2": 2}
    assert [(event.event_ts, event.windows, event.left_out) for event in answer.events] == [
        (at(8, 13), (), ("not yet happened",)),
        (at(8, 12), ("1d", "last 2"), ()),
        (at(8, 11), (), ("not yet known",)),
        (at(8, 11), ("1d", "last 2"), ()),
        (at(7, 12), ("1d",), ("not among the last 2",)),
        (at(7, 11), (), ("too old for 1d", "not among the last 2")),
    ]


def test_a_null_is_among_the_newest_and_counts_for_nothing(tmp_path: Path) -> None:
    """Of the newest two events one has no amount: it is left out as null, not as too old, and none moves up."""
    features = INCLUSIVE.replace("amount, ops", "per_item, ops").replace('1d, "last 2"', '"last 2"')
    project = shop_with(tmp_path, features)
    rows = [order(day, at(day), at(day)) | {"per_item": None if day == 2 else 1.0} for day in (1, 2, 3)]

    answer = why(
        project, project.views[0], {"customer": "ann"}, at(5), silver_of(project, orders=rows, customers=[])
    )

    assert dict(answer.features) == {"spending__per_item_count_last2": 1}
    assert [(event.windows, event.left_out) for event in answer.events] == [
        (("last 2",), ()),
        ((), ("per_item is null",)),
        ((), ("not among the last 2",)),
    ]


@pytest.mark.parametrize("boundary", ["exclusive", "inclusive"])
@pytest.mark.parametrize("delay", ["", "    delay: 1h\n"])
def test_the_events_listed_for_a_window_are_those_it_counts(
    tmp_path: Path, boundary: str, delay: str
) -> None:
    """Random orders, late and missing ones among them: as many events name a window as its count says."""
    dice = random.Random(boundary + delay)
    counts = "windows: [1h, 1d, lifetime, last 1, last 4]"
    features = (
        f"views:\n  spending:\n    entity: customer\n    source: orders\n    boundary: {boundary}\n{delay}"
        f"    aggregations:\n      - {{ops: [count], {counts}}}\n"
        f"      - {{input: per_item, name: few, ops: [count], {counts}, where: amount < 5}}\n"
    )
    project = shop_with(tmp_path, features)
    hours = [dice.randrange(72) for _ in range(40)]
    rows = [
        order(number, at(1 + hour // 24, hour % 24), at(1 + hour // 24, hour % 24), float(dice.randrange(10)))
        | {"settled_ts": at(1 + late // 24, late % 24), "per_item": dice.choice([None, 1.0])}
        for number, hour in enumerate(hours)
        for late in [hour + dice.choice([0, 0, 1, 30])]
    ]
    silver = silver_of(project, orders=rows, customers=[])
    for hour in (0, 11, 30, 71):
        moment = at(1 + hour // 24, hour % 24)

        answer = why(project, project.views[0], {"customer": "ann"}, moment, silver)

        listed = Counter(window for event in answer.events for window in event.windows)
        for name, count in answer.features.items():
            window = name.rpartition("_")[2].replace("last", "last ")
            label = f"{window} where amount < 5" if "few" in name else window
            assert listed[label] == count, (name, moment)
        assert all(event.windows or event.left_out for event in answer.events)
