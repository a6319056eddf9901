"""What a cell costs: core time to write and to read one, and the bytes of a subject's data key.

python -m benchmarks.encryption --cells 100000 --subjects 1000
"""

from __future__ import annotations

import argparse
import os
import pickle
import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from featurelib.encryption import Keyring, NewKey, new_key, opened_array, sealed_array

NAME = "BENCHMARK_KEY"
REFERENCE = f"${{secret:env/{NAME}}}"
WHERE = "silver.sales.note"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--subjects", type=int, default=1_000)
    asked = parser.parse_args()
    os.environ[NAME] = secrets.token_hex(32)
    empty = Keyring("sales", (REFERENCE,), tempfile.gettempdir(), ())
    index = new_key("sales", NewKey("index"), empty.master)
    subjects = [f"customer {number}" for number in range(asked.subjects)]
    indexed = Keyring(empty.table, empty.references, empty.base, (index,))
    made = timed(lambda: [new_key("sales", one, indexed.master) for one in indexed.missing(subjects)])
    ring = Keyring(empty.table, empty.references, empty.base, (index, *made[1]))
    sent = pickle.dumps(ring)
    values = pa.array([f"a note of some length, number {number}" for number in range(asked.cells)])
    rows = (
        pa.array([str(Path("sales", "2024-01-01.csv.gz"))] * asked.cells),
        pa.array(range(asked.cells), pa.int64()),
    )
    whose = pa.array([subjects[number % len(subjects)] for number in range(asked.cells)])
    written = timed(lambda: sealed_array(values, "string", rows, subjects=whose, ring=ring, where=WHERE))
    again = pickle.loads(sent)
    read = timed(lambda: opened_array(written[1], "string", rows, ring=again, where=WHERE))
    assert read[1].equals(values)
    more = len(written[1][0].as_py()) - len(values[0].as_py())
    key, write, one = (
        seconds / count * 1e6
        for seconds, count in (
            (made[0], asked.subjects),
            (written[0], asked.cells),
            (read[0], asked.cells),
        )
    )
    print(f"data key of a subject: made in {key:.1f} us, {len(sent) / asked.subjects:.0f} bytes to a task")
    print(f"cell: written in {write:.1f} us of a core, read in {one:.1f}; {more} bytes more than its text")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


if __name__ == "__main__":
    main()
