"""A backfill is a list of pieces, cut by days; what is done is not planned again, and nothing older replaces newer."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from featurelib.cli import run
from featurelib.errors import ConfigError, FeaturelibError
from featurelib.pipeline.backfill import pieces_of, plan_of, refuse_older
from featurelib.pipeline.context import Place
from featurelib.pipeline.days import DayRange
from tests.jobs.cafe_project import DAYS
from tests.without_spark.cafe_store import build, day_of, land, load, place_in, predict, record


@pytest.fixture
def cafe(tmp_path: Path) -> Place:
    """A cafe of which days 1 to 5 are loaded and day 3 is built and predicted."""
    root = tmp_path / "root"
    land(root, DAYS)
    place = place_in(root)
    load(place)
    build(place, [3])
    predict(place, [3])
    return place


def days(first: int | None, end: int | None) -> DayRange:
    """Days of January."""
    return DayRange(*(None if day is None else day_of(day) for day in (first, end)))


def test_chunks_are_cut_from_the_first_day_and_hold_loaded_days(cafe: Place) -> None:
    """Features oldest first, then what is made of all of them, then predictions; the last chunk ends with the data."""
    found = [str(piece) for piece in pieces_of(cafe, DayRange(date(2023, 12, 30), day_of(20)), chunk="4d")]

    chunks = ["from 2023-12-30 to 2024-01-03", "from 2024-01-03 to 2024-01-06"]
    assert found == [
        *(f"build features {chunk}" for chunk in chunks),
        "build training set",
        "train",
        *(f"score {chunk}" for chunk in chunks),
    ]
    assert [piece.days for piece in pieces_of(cafe, days(None, 4), chunk="2d")[:2]] == [
        days(1, 3),
        days(3, 4),
    ]


def test_chunks_that_are_done_have_nothing_left(cafe: Place) -> None:
    """Day 3 has features and predictions, days 1 and 2 do not: as a plan of these days says."""
    pieces = pieces_of(cafe, days(1, 4), chunk="2d")
    busy = {str(piece): bool(plan_of(cafe, piece).busy) for piece in pieces if not piece.days.is_all}
    assert busy == {
        "build features from 2024-01-01 to 2024-01-03": True,
        "build features from 2024-01-03 to 2024-01-04": False,
        "score from 2024-01-01 to 2024-01-03": False,  # nothing to score before there are features
        "score from 2024-01-03 to 2024-01-04": False,
    }


@pytest.mark.parametrize("chunk", ["0d", "-3d", "12h", "36h", "lifetime", "ten", ""])
def test_a_chunk_is_a_number_of_whole_days(cafe: Place, chunk: str) -> None:
    """Zero, negative and broken lengths are refused before anything is started."""
    with pytest.raises(ConfigError, match=f"--chunk '{chunk}'\n  expected: a number of whole days"):
        pieces_of(cafe, DayRange(), chunk=chunk)


def test_a_range_before_the_first_landed_day_is_refused(cafe: Place) -> None:
    """The error says which days there are."""
    with pytest.raises(
        ConfigError, match=r"none of them is loaded\n  expected: loaded days, of 2024-01-01 to 2024-01-05"
    ):
        pieces_of(cafe, DayRange(date(2023, 1, 1), date(2023, 6, 1)))


def test_before_the_first_ingest_there_is_nothing_to_fill(tmp_path: Path) -> None:
    """The step to run is named."""
    with pytest.raises(FeaturelibError, match="run the ingest step first"):
        pieces_of(place_in(tmp_path / "root"), DayRange())


def test_an_older_moment_is_refused(cafe: Place) -> None:
    """Labels that a run as of 1 February knew would be lost by a backfill as of 10 January."""
    record(cafe, "score", size=4, seconds=1.0, as_of="2024-01-10")
    refuse_older(cafe)
    record(cafe, "build_training_set", size=4, seconds=1.0, as_of="2024-02-01")
    with pytest.raises(
        ConfigError, match=r"(?s)as of 2024-01-10.* as of 2024-02-01.*give --as-of 2024-02-01"
    ):
        refuse_older(cafe)


def test_the_command_refuses_before_a_session(cafe: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Days the wrong way round, and a budget below the smallest step, cost no JVM."""
    root = cafe.project.settings.root
    asked = ["backfill", "--as-of", "2024-01-10", "--pipeline", cafe.project.folder, "-c", f"root={root}"]
    assert run([*asked, "--from", "2024-01-04", "--to", "2024-01-02"]) == 2
    assert "a first day before the day at which to stop" in capsys.readouterr().err
    record(cafe, "build_features", size=4, seconds=60.0)
    assert run([*asked, "--from", "2024-01-01", "--max-seconds", "5"]) == 6
    assert "below the smallest step" in capsys.readouterr().err
