"""Let runs die everywhere and at any moment, and say what their tables hold after a rerun.

    python -m benchmarks.chaos --seed 1 --kills 300         all of it, an hour on two cores
    python -m benchmarks.chaos --seed 1 --only protocol     runs without Spark alone, a few minutes

Of the protocol (runs, leases, manifests, recovery, without Spark): SIGKILL and an exception at every
named point, and `--protocol-kills` at random moments. Of pairs: 81 ordered pairs of operations on one
table, the first asleep past its lease before its write, and behind it. Of a whole pipeline on Spark (a
market stand, all six steps): SIGKILL of the driver, an exception, and the death of all Python workers at
every named point, and `--kills` SIGKILLs at random moments. After each kill the published tables are
looked at for what is torn, lost or double; the end is compared row by row with a run that nothing
disturbed, and by the hashes of `featurelib tables`. The seed decides the moments; how far a run has come
by then, the machine decides.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from featurelib.tables import Store
from tests.chaos.kills import Death, Kills

_KINDS = {
    "kill": "driver killed (SIGKILL)",
    "raise": "exception",
    "worker": "Python workers killed",
    "sleep": "asleep past its lease",
    "end": "ran on to the end",
}


class Report:
    """Counts deaths by where and how, and prints what is wrong at once."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], list[Death]] = {}

    def add(self, where: str, death: Death) -> None:
        self.rows.setdefault((where, death.kind), []).append(death)
        print(".", end="", flush=True)
        if not death.is_mended:
            print(f"\n  NOT MENDED: {death}", flush=True)

    def print(self) -> bool:
        print(f"\n{'what':<34}{'how':<28}{'deaths':>8}{'points':>8}{'fired':>8}{'equal':>8}{'torn':>6}")
        for (where, kind), deaths in self.rows.items():
            points = len({death.where for death in deaths}) if where.endswith("points") else ""
            fired, equal = sum(death.fired for death in deaths), sum(death.equal for death in deaths)
            torn = sum(bool(death.faults) for death in deaths)
            print(f"{where:<34}{_KINDS[kind]:<28}{len(deaths):>8}{points:>8}{fired:>8}{equal:>8}{torn:>6}")
        return all(death.is_mended for deaths in self.rows.values() for death in deaths)


def of_the_protocol(folder: Path, report: Report, *, seed: int, kills: int) -> None:
    found = Kills(folder)
    for point in found.points():
        for kind in ("kill", "raise"):
            report.add("protocol, named points", found.died(point, kind))
    for death in found.at_random(kills, seed):
        report.add("protocol, random moments", death)


def of_pairs(folder: Path, report: Report) -> None:
    """All ordered pairs of operations on one table, the first asleep past its lease."""
    from tests.chaos.pairs import CUTS, OPERATIONS, disturbed, prepare

    spark = spark_in(folder)
    prepare(spark, Store(str(folder / "first")))
    for number, (cut, first, second) in enumerate(product(CUTS, OPERATIONS, OPERATIONS)):
        store = Store(str(shutil.copytree(folder / "first", folder / str(number))))
        odd = list(disturbed(spark, store, first, second, cut))
        pair = f"{first}, {second}"
        report.add(f"pairs, {cut}", Death(pair, "sleep", fired=True, equal=not odd, faults=odd))
    spark.stop()


def spark_in(folder: Path):
    from featurelib.session import build_session
    from featurelib.specs import SparkSettings

    conf = {"spark.log.level": "ERROR", "spark.sql.warehouse.dir": str(folder / "warehouse")}
    settings = SparkSettings(master="local[2,4]", driver_memory="2g", shuffle_partitions=1, conf=conf)
    return build_session(settings, app_name="featurelib chaos")


def of_the_pipeline(
    folder: Path, report: Report, *, seed: int, kills: int, kinds: list[str], minutes: float
) -> None:
    from tests.chaos.stands import Stands, in_order

    spark = spark_in(folder)
    stands = Stands(spark, folder)
    seconds = ", ".join(f"{step} {taken:.1f}" for step, taken in stands.seconds.items())
    print(f"pipeline: {len(stands.points)} named points; seconds undisturbed: {seconds}", flush=True)
    for kind in kinds:
        began = time.monotonic()
        until = began + 60 * minutes
        if kind == "random":
            for death in at_random(stands, kills, seed, until):
                report.add("pipeline, random moments", death)
        else:
            for death in at_points(stands, in_order(stands.points), kind, until):
                report.add("pipeline, named points", death)
        print(f"pipeline, {kind}: {time.monotonic() - began:.0f} s", flush=True)
    spark.stop()


def at_points(stands, points: Iterator[str], kind: str, until: float) -> Iterator[Death]:
    if kind == "worker":
        for step, point in stands.points:
            if time.monotonic() > until:
                return
            yield stands.without_workers(step, point)
        return
    root = stands.store()
    for point in points:
        if time.monotonic() > until:
            break
        yield stands.killed(root, point) if kind == "kill" else stands.raised(root, point)
    yield stands.finished(root)
    print(f"  hashes equal: {hashes(stands, root) == hashes(stands, stands.whole)}", flush=True)


def at_random(stands, kills: int, seed: int, until: float) -> Iterator[Death]:
    from tests.chaos.stands import moments

    root, done, chosen = stands.store(), 0, moments(stands.seconds, random.Random(seed))
    while done < kills and time.monotonic() < until:
        death = stands.killed_after(root, next(chosen))
        if death.fired:
            done += 1
            yield death
        else:
            yield stands.finished(root)
            root = stands.store()
    yield stands.finished(root)
    print(f"  hashes equal: {hashes(stands, root) == hashes(stands, stands.whole)}", flush=True)


def hashes(stands, root: Path) -> list[tuple[str, int, str]]:
    """What `featurelib tables` prints but the versions, which count the deaths."""
    from featurelib.pipeline.contents import contents
    from tests.chaos.stand import context_of

    return [(found.table, found.rows, found.content) for found in contents(context_of(stands.spark, root))]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument(
        "--kills", type=int, default=300, help="SIGKILLs of the pipeline at random moments"
    )
    arguments.add_argument("--protocol-kills", type=int, default=1000, help="the same of the protocol alone")
    arguments.add_argument("--only", choices=["protocol", "pairs", "pipeline"])
    arguments.add_argument(
        "--kinds",
        nargs="+",
        default=["kill", "raise", "worker", "random"],
        help="of the deaths of the pipeline",
    )
    arguments.add_argument("--minutes", type=float, default=120, help="the most that each kind may take")
    given = arguments.parse_args()
    report = Report()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if given.only in {None, "protocol"}:
            of_the_protocol(Path(folder) / "protocol", report, seed=given.seed, kills=given.protocol_kills)
        if given.only in {None, "pairs"}:
            of_pairs(Path(folder) / "pairs", report)
        if given.only in {None, "pipeline"}:
            chosen = {"kills": given.kills, "kinds": given.kinds, "minutes": given.minutes}
            of_the_pipeline(Path(folder) / "pipeline", report, seed=given.seed, **chosen)
    return 0 if report.print() else 1


if __name__ == "__main__":
    sys.exit(main())
