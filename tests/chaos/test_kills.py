"""Runs die at every named point and at random moments: nothing is torn, and a rerun leaves what an undisturbed one does."""

from __future__ import annotations

from pathlib import Path

import pytest

from featurelib.tables import Store, begin_run, published
from tests.chaos import till
from tests.chaos.kills import Death, Kills


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> Kills:
    """Stores to be disturbed."""
    return Kills(tmp_path_factory.mktemp("kills"))


def test_sigkill_at_every_point_of_a_recovery_and_a_run(kills: Kills) -> None:
    """48 points of a run behind a dead one: lease, restore, create, write, publish, diary. Each fires; each is mended."""
    points = kills.points()
    assert len(points) == 48
    assert {point.partition(".")[0] for point in points} == {
        "lease", "begin", "restore", "create", "write", "publish", "ops",
    }  # fmt: skip
    assert [death for point in points if not (death := kills.died(point, "kill")).is_mended] == []


def test_an_exception_at_points_of_each_sort(kills: Kills) -> None:
    """What ends a run in an orderly way, its lease given back, is mended as a kill is."""
    points = kills.points()[::5]
    assert [death for point in points if not (death := kills.died(point, "raise")).is_mended] == []


def test_sigkill_at_random_moments(kills: Kills) -> None:
    """Forty kills, several to a store: after each the published tables belong together, at the end they are whole."""
    deaths = list(kills.at_random(40, seed=1))
    assert sum(death.kind == "kill" for death in deaths) == 40
    assert [death for death in deaths if not death.is_mended] == []


def test_the_checks_see_what_is_torn_lost_or_double(kills: Kills, tmp_path: Path) -> None:
    """A table published without its fellows, a row twice, a row lost: each is named. Else the tests above prove nothing."""
    store = Store(str(tmp_path / "store"))
    till.pipeline(store.root, till.DAYS[:2])
    assert till.faults_of(store) == []

    rows = [{"day": "d1", "sale": sale, "amount": amount} for sale, amount in till.sales_of("d1")]
    for run_id, change in (("double", "append_rows"), ("lost", "replace_rows")):
        with begin_run(till.NO_SPARK, store, pipeline="till", run_id=run_id) as run:
            getattr(run, change)(rows, till.GOOD)
            run.publish()
        assert till.faults_of(store)[0].startswith(f"{till.GOOD} does not hold the sales of ['d1', 'd2']")
        assert till.contents(store) != kills.wanted
    assert set(published(store)) == {till.FILES, till.SALES, till.GOOD, till.TOTALS, till.SEEN}
    assert not Death("here", "kill", fired=False, equal=True).is_mended
