"""Let runs die everywhere and at any moment, and say what their tables hold after a rerun.

    python -m benchmarks.chaos --seed 1 --kills 300         all of it, an hour on two free cores
    python -m benchmarks.chaos --seed 1 --only protocol     runs without Spark alone, a few minutes

Of the protocol (runs, leases, manifests, recovery, without Spark): SIGKILL and an exception at every named
point, and `--protocol-kills` at random moments. Of eight processes that commit to one table, 50 times each:
what was acknowledged, and what is there. Of pairs: 81 ordered pairs of operations on one table, the first
asleep past its lease before its write, and behind it. Of a whole pipeline on Spark (a market stand, all six
steps): SIGKILL of the driver, an exception, and the death of all Python workers at every named point, the
death of workers at work, and `--kills` SIGKILLs at random moments.

After each death the published tables are looked at for what is torn, lost or double. Several deaths strike
one store, one after another; the end of each step is compared row by row with a run that nothing disturbed,
and the end of the last by the hashes of `featurelib tables` too. The seed decides the moments; how far a run
has come by then, the machine decides.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

from featurelib.pipeline.contents import contents
from featurelib.pipeline.order import PIPELINE
from featurelib.tables import Store
from tests.chaos.kills import Death, Kills
from tests.chaos.stand import context_of
from tests.chaos.stands import Stands, in_order
from tests.chaos.writers import written

_ROUND = 30
"""So many kills at random moments strike one store on its way from the first step to the last."""

_TRIES = 5

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
        if not self.rows:
            return True
        print(f"\n{'what':<34}{'how':<28}{'deaths':>8}{'points':>8}{'fired':>8}{'equal':>8}{'torn':>6}")
        for (where, kind), deaths in self.rows.items():
            points = len({death.where for death in deaths}) if where.endswith("points") else ""
            fired, compared = (
                sum(death.fired for death in deaths),
                [d.equal for d in deaths if d.equal is not None],
            )
            equal = sum(compared) if compared else ""
            torn = sum(bool(death.faults) for death in deaths)
            row = f"{where:<34}{_KINDS[kind]:<28}{len(deaths):>8}{points:>8}{fired:>8}{equal:>8}{torn:>6}"
            print(row, flush=True)
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


def of_writers(folder: Path, *, writers: int = 8, commits: int = 50) -> bool:
    """Processes that commit to one table at once, one row a commit."""
    folder.mkdir()
    found = written(folder, writers=writers, commits=commits)
    print(
        f"{writers} writers x {commits} commits: {len(found.acknowledged)} acknowledged, "
        f"{len(found.in_log)} in the log, {len(found.rows)} rows; wrong: {found.faults or 'nothing'}",
        flush=True,
    )
    return not found.faults


def spark_in(folder: Path):
    from featurelib.session import build_session
    from featurelib.specs import SparkSettings

    conf = {
        "spark.log.level": "FATAL",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.codegen.cache.maxEntries": "10000",  # the same few plans, hundreds of times
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.default.parallelism": "1",
    }
    settings = SparkSettings(master="local[2,4]", driver_memory="2g", shuffle_partitions=1, conf=conf)
    return build_session(settings, app_name="featurelib chaos")


def of_the_pipeline(
    folder: Path, report: Report, *, seed: int, kills: int, kinds: list[str], minutes: float
) -> None:
    spark = spark_in(folder)
    stands = Stands(spark, folder)
    seconds = ", ".join(f"{step} {taken:.1f}" for step, taken in stands.seconds.items())
    points = sum(len(names) for names in stands.points.values())
    print(f"pipeline: {points} named points; seconds undisturbed: {seconds}", flush=True)
    for kind in kinds:
        began = time.monotonic()
        until = began + 60 * minutes
        deaths = {
            "worker": partial(without_workers, stands),
            "random": partial(at_random, stands, kills, seed),
        }.get(kind, partial(at_points, stands, kind))
        where = f"pipeline, {'random moments' if kind == 'random' else 'named points'}"
        for death in deaths():
            report.add("pipeline, tasks at work" if death.where.endswith("at work") else where, death)
            if time.monotonic() > until:
                print(f"\npipeline, {kind}: cut short", flush=True)
                break
        report.print()
        print(f"pipeline, {kind}: {time.monotonic() - began:.0f} s", flush=True)
    spark.stop()


def at_points(stands, kind: str) -> Iterator[Death]:
    """One store goes from step to step, through a death at each point of each."""
    root = stands.store(PIPELINE[0])
    for step in PIPELINE:
        for point in in_order(stands.points[step]):
            death = stands.struck(root, step, point, kind)
            if not (death.fired or death.faults):  # what it was to do, the run that died before it had done
                yield stands.finished(root, step)
                root = stands.store(step)
                death = stands.struck(root, step, point, kind)
            yield death
        yield stands.finished(root, step)
    print(f"\n  hashes equal: {hashes(stands, root) == hashes(stands, stands.whole)}", flush=True)


def at_random(stands, kills: int, seed: int) -> Iterator[Death]:
    """Stores go from step to step, through deaths at moments that are spread over the whole run's time."""
    dice, done, places = random.Random(seed), 0, Counter()
    while done < kills:
        root = stands.store(PIPELINE[0])
        moments = [dice.uniform(0, sum(stands.seconds.values())) for _ in range(min(_ROUND, kills - done))]
        for step in PIPELINE:
            begins = sum(stands.seconds[earlier] for earlier in PIPELINE[: PIPELINE.index(step)])
            for moment in moments:
                if not 0 <= moment - begins < stands.seconds[step]:
                    continue
                death = stands.killed_after(root, step, moment - begins)
                if death.fired:
                    done += 1
                    places[death.where] += 1
                    yield death
                elif death.faults:
                    yield death
                else:  # it was quicker than expected
                    yield stands.finished(root, step)
                    root = stands.store(step)
            yield stands.finished(root, step)
        print(f"\n  hashes equal: {hashes(stands, root) == hashes(stands, stands.whole)}", flush=True)
    by_step = Counter(place.partition(":")[0] for place in places.elements())
    print(f"  kills by step: {dict(by_step)}, behind {len(places)} different points", flush=True)


def without_workers(stands) -> Iterator[Death]:
    """Python workers die while the driver stands at each point, and at work: few, and more than bearable."""
    for step in PIPELINE:
        yield from stands.without_workers(step)
    for step in PIPELINE:
        for number in (1, 2, 12):
            death = stands.without_workers_at_work(step, number)
            for _ in range(_TRIES):  # a worker may have ended its task before it died
                if death.where.endswith("none at work") or death.fired or not death.is_well:
                    break
                death = stands.without_workers_at_work(step, number)
            if death.where.endswith("none at work"):
                print(f"\n  {step} begins no Python worker", flush=True)
                break
            yield death


def hashes(stands, root: Path) -> list[tuple[str, int, str]]:
    """What `featurelib tables` prints but the versions, which count the deaths."""
    return [(found.table, found.rows, found.content) for found in contents(context_of(stands.spark, root))]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument(
        "--kills", type=int, default=300, help="SIGKILLs of the pipeline at random moments"
    )
    arguments.add_argument("--protocol-kills", type=int, default=1000, help="the same of the protocol alone")
    arguments.add_argument("--only", choices=["protocol", "pairs", "writers", "pipeline"])
    arguments.add_argument(
        "--kinds",
        nargs="+",
        default=["kill", "raise", "worker", "random"],
        help="of the deaths of the pipeline",
    )
    arguments.add_argument("--minutes", type=float, default=120, help="the most that each kind may take")
    given = arguments.parse_args()
    report, all_well = Report(), True
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if given.only in {None, "protocol"}:
            of_the_protocol(Path(folder) / "protocol", report, seed=given.seed, kills=given.protocol_kills)
        if given.only in {None, "writers"}:
            all_well = of_writers(Path(folder) / "writers")
        if given.only in {None, "pairs"}:
            of_pairs(Path(folder) / "pairs", report)
        if given.only in {None, "pipeline"}:
            chosen = {"kills": given.kills, "kinds": given.kinds, "minutes": given.minutes}
            of_the_pipeline(Path(folder) / "pipeline", report, seed=given.seed, **chosen)
    return 0 if report.print() and all_well else 1


if __name__ == "__main__":
    sys.exit(main())
