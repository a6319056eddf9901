"""Kills of the small pipeline at every named point and at random moments, and what is left after a rerun."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from featurelib.errors import FeaturelibError
from featurelib.tables import Store
from tests.chaos import till
from tests.chaos.processes import Child, preload

FIRST, ALL = till.DAYS[:1], till.DAYS
EXITS = {"kill": -9, "raise": 1}
LEFT_BY = f"write.{till.FILES}.after"  # a run that died here has left three tables to be restored


@dataclass(frozen=True)
class Death:
    """One death of a run, and what came after it.

    Attributes:
        where: the named point, or the moment.
        kind: ``kill`` for SIGKILL, ``raise`` for an exception.
        fired: whether the process really died of it.
        faults: what was torn, lost or double in the published tables, before and after the rerun.
        equal: whether the tables ended equal to those of a run that nothing disturbed; None where the next run
            died on the same store too.
    """

    where: str
    kind: str
    fired: bool
    equal: bool | None
    faults: list[str] = field(default_factory=list)

    @property
    def is_mended(self) -> bool:
        return self.fired and self.is_well

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong with the tables, fired or not."""
        return self.equal is not False and not self.faults


class Kills:
    """A folder of stores: one undisturbed, one with a first day, one that a dead run has left unfinished."""

    def __init__(self, folder: Path) -> None:
        preload("tests.chaos.till")
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._numbers = iter(range(10**9))
        whole = self._run("whole")
        self.wanted = till.contents(whole)
        first = folder / "first"
        assert self._child(first, FIRST).exit_code() == 0
        left = shutil.copytree(first, folder / "left")
        assert self._child(left, ALL, f"kill:{LEFT_BY}").exit_code() == -9
        began = time.monotonic()
        self._run("again")
        self.seconds = time.monotonic() - began

    def points(self) -> list[str]:
        """The points a later run reaches, those of a recovery among them, in order; ``@2`` for the second time."""
        reached = self.folder / f"points-{next(self._numbers)}"
        store = self._copy("left")
        assert self._child(store, ALL, f"list:{reached}").exit_code() == 0
        times: Counter[str] = Counter()
        points = []
        for name in reached.read_text().split():
            times[name] += 1
            points.append(f"{name}@{times[name]}")
        return points

    def died(self, point: str, kind: str) -> Death:
        """End a run at a point, by SIGKILL or by an exception, and let another one finish."""
        store = self._copy("left")
        child = self._child(store, ALL, f"{kind}:{point}")
        fired = child.exit_code() == EXITS[kind] and child.fired(point.partition("@")[0])
        return self._mended(store, point, kind, fired=fired)

    def at_random(self, number: int, seed: int) -> Iterator[Death]:
        """Kill runs of one store after random parts of a run's time until it is whole; then begin another store."""
        dice = random.Random(seed)
        store, done = self._copy("first"), 0
        while done < number:
            moment = dice.uniform(0, self.seconds)
            if self._child(store, ALL).kill_after(moment):
                done += 1
                faults = till.faults_of(Store(str(store)))
                yield Death(f"{moment:.4f} s", "kill", fired=True, equal=None, faults=faults)
            else:
                death = self._mended(store, f"{moment:.4f} s", "end", fired=True)
                store = self._copy("first")
                if not death.is_mended:
                    yield death
        yield self._mended(store, "the end", "end", fired=True)

    def _mended(self, store: Path, where: str, kind: str, *, fired: bool) -> Death:
        tables = Store(str(store))
        faults = till.faults_of(tables)
        try:
            till.pipeline(str(store), ALL)  # in this process, which costs half of another
        except FeaturelibError as error:
            faults.append(str(error))
        faults += till.faults_of(tables)
        return Death(where, kind, fired, till.contents(tables) == self.wanted, faults)

    def _run(self, name: str) -> Store:
        store = self.folder / name
        assert self._child(store, ALL).exit_code() == 0
        return Store(str(store))

    def _child(self, store: Path, days: tuple[str, ...], fault: str = "") -> Child:
        return Child(self.folder / "said", till.pipeline, str(store), days, fault=fault)

    def _copy(self, name: str) -> Path:
        return Path(shutil.copytree(self.folder / name, self.folder / f"{name}-{next(self._numbers)}"))
