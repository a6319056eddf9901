"""The pipeline on a few days of real flights: a day more touches a day, nothing is half done, errors say what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from featurelib.errors import FeaturelibError, InputError, QualityGateError
from featurelib.pipeline.steps import run_step
from featurelib.tables import content_hash, published
from featurelib.tables.faults import InjectedFault
from tests.jobs.flights import all_contents, table

if TYPE_CHECKING:
    from featurelib.pipeline.context import Context

Contexts = Callable[[Path, str], "Context"]


@pytest.fixture(scope="module")
def first_day(contexts: Contexts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a pipeline that has loaded the first day and built nothing."""
    root = tmp_path_factory.mktemp("first_day") / "root"
    run_step(contexts(root, "2013-01-02"), "ingest")
    return root


def test_one_day_more_touches_one_day(contexts: Contexts, tmp_path: Path) -> None:
    """The next day adds its own rows; every earlier row of every table stays, and equals a load in one go."""
    run_step(contexts(tmp_path / "daily", "2013-01-03"), "ingest")
    run_step(contexts(tmp_path / "daily", "2013-01-03"), "build_features")
    old = content_hash(table(contexts(tmp_path / "daily", "2013-01-03"), "features.flights"))
    daily, once = contexts(tmp_path / "daily", "2013-01-04"), contexts(tmp_path / "once", "2013-01-04")
    for context in (daily, once):
        run_step(context, "ingest")
        result = run_step(context, "build_features")
        if context is daily:
            assert result.facts["days"] == 1

    earlier = table(daily, "features.flights").where("_day < DATE'2013-01-03'")
    assert old == content_hash(earlier)
    assert all_contents(once) == all_contents(daily)


def test_the_training_set_grows_as_labels_become_known(
    contexts: Contexts, first_day: Path, tmp_path: Path
) -> None:
    """At midnight UTC evening flights are in the air: hours later, without a new file, their labels are there."""
    root = shutil.copytree(first_day, tmp_path / "root")
    midnight, noon = contexts(root, "2013-01-02"), contexts(root, "2013-01-02T12:00")
    run_step(midnight, "build_features")
    first, again = run_step(midnight, "build_training_set"), run_step(midnight, "build_training_set")
    later = run_step(noon, "build_training_set")

    assert (again.is_idle, later.is_idle) == (True, False)
    assert first.facts["parts"]["train"] + first.facts["left_out"] == 842
    assert first.facts["parts"]["train"] < later.facts["parts"]["train"] == 830
    assert run_step(noon, "build_training_set").is_idle


@pytest.mark.parametrize(
    ("step", "point"),
    [
        ("ingest", "publish.before"),
        ("build_features", "write.features.flights.after"),
    ],
)
def test_a_killed_step_is_mended_by_a_rerun(
    contexts: Contexts,
    first_day: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    point: str,
) -> None:
    """Broken off between any two writes, a rerun ends with the rows of a run that was never broken off."""
    if step != "ingest":
        shutil.copytree(first_day, tmp_path / "root")
    context = contexts(tmp_path / "root", "2013-01-02")
    monkeypatch.setenv("FEATURELIB_FAULT", f"raise:{point}")
    with pytest.raises(InjectedFault):
        run_step(context, step)
    monkeypatch.delenv("FEATURELIB_FAULT")

    run_step(context, step)

    flights = 842
    wanted = {"bronze.flights": flights, "silver.flights": flights, "silver.flights_quarantine": 0}
    if step == "build_features":
        wanted["features.flights"] = flights
    found = {name: rows for name, (rows, _) in all_contents(context).items()}
    assert wanted == {name: found[name] for name in wanted}


def test_damaged_files_are_all_named_and_nothing_is_written(contexts: Contexts, tmp_path: Path) -> None:
    """Two bad files of a load are named together; no table exists afterwards."""
    context = contexts(tmp_path, "2013-01-03")
    landing = Path(context.project.settings.landing)
    whole = (landing / "flights" / "2013-01-01.csv.gz").read_bytes()
    (landing / "flights" / "2013-01-01.csv.gz").write_bytes(whole[:-100])
    (landing / "weather" / "2013-01-02.csv.gz").write_bytes(b"")

    with pytest.raises(
        InputError, match=r"(?s)2 landed file.*flights/2013-01-01.*damaged.*weather/2013-01-02"
    ):
        run_step(context, "ingest")

    assert published(context.store) == {}


def test_too_many_bad_rows_publish_nothing(contexts: Contexts, tmp_path: Path) -> None:
    """The gate names the rules that were broken; earlier days stay as they were."""
    import gzip

    context = contexts(tmp_path, "2013-01-02")
    path = Path(context.project.settings.landing) / "flights" / "2013-01-01.csv.gz"
    lines = gzip.decompress(path.read_bytes()).replace(b",JFK,", b",LAX,")
    path.write_bytes(gzip.compress(lines))

    with pytest.raises(QualityGateError, match=r"297 of 842 rows are bad \(origin_is_new_york 297\)"):
        run_step(context, "ingest")

    assert published(context.store) == {}


def test_a_step_out_of_turn_says_what_to_run(contexts: Contexts, tmp_path: Path) -> None:
    """Features without silver, scores without features: the error names the missing step."""
    context = contexts(tmp_path, "2013-01-02")

    for step, needed in (
        ("build_features", "ingest"),
        ("train", "build_training_set"),
        ("score", "build_features"),
    ):
        with pytest.raises(FeaturelibError, match=needed):
            run_step(context, step)
