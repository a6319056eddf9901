"""Kill the demo again and again, let it finish, and compare every table with an undisturbed run.

    python -m benchmarks.kill_and_rerun                 the whole demo, about 25 minutes on two cores
    python -m benchmarks.kill_and_rerun --whole ROOT    compared with the run that is there already

Each kill is a SIGKILL of the whole process group (Python, Java, Python workers) some seconds after a line of
the demo's output was seen. What is compared is what `./spark-submit.sh tables` prints: rows and content hash
of every published table.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
KILLS = [  # (what the demo has printed, how many seconds later it is killed)
    ("landing", 6.0),
    ("flights: 364 files", 8.0),
    ("weather: 364 files", 4.0),
    ("ingest  ", 6.0),
    ("ingest  ", 14.0),
    ("build features  ", 4.0),
    ("late_arrival: prepare", 5.0),
    ("trial 1 of", 0.5),
    ("trial 6 of", 2.0),
    ("late_arrival: evaluate", 1.0),
    ("train  ", 0.2),
    ("train  ", 4.0),
    ("score  ", 1.0),
]


def command(word: str, root: str, overrides: list[str]) -> list[str]:
    given = [part for override in [f"root={root}", *overrides] for part in ("-c", override)]
    return [str(PROJECT / "spark-submit.sh"), word, *given]


def killed(root: str, text: str, seconds: float, overrides: list[str]) -> str:
    """Start the demo, wait for the text, kill it; return what happened."""
    demo = subprocess.Popen(
        command("demo", root, overrides),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        cwd=PROJECT,
    )
    last = ""
    for line in demo.stdout or ():
        last = line.rstrip()
        if text in line:
            time.sleep(seconds)
            if demo.poll() is None:
                os.killpg(demo.pid, signal.SIGKILL)
                demo.wait()
                return f"killed {seconds:g} s after {text.strip()!r}"
            break
    demo.wait()
    return (
        f"NOT killed: the demo ended with {demo.returncode} before {text.strip()!r} + {seconds:g} s ({last})"
    )


def tables(root: str, overrides: list[str]) -> dict[str, tuple[int, str]]:
    """Return rows and content hash of every table, as the command prints them."""
    printed = subprocess.run(
        command("tables", root, overrides), capture_output=True, text=True, check=True, cwd=PROJECT
    )
    lines = re.findall(r"^(\S+\.\S+)\s+\d+\s+([\d,]+)\s+(\S+)$", printed.stdout, re.MULTILINE)
    return {name: (int(rows.replace(",", "")), content) for name, rows, content in lines}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("-c", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    arguments.add_argument("--whole", metavar="ROOT", help="root of an undisturbed run; absent, one is made")
    given = arguments.parse_args()
    overrides = given.overrides
    with tempfile.TemporaryDirectory() as folder:
        whole, broken = given.whole or f"{folder}/whole", f"{folder}/broken"
        if given.whole is None:
            subprocess.run(
                command("demo", whole, overrides), check=True, cwd=PROJECT, stdout=subprocess.DEVNULL
            )
        for text, seconds in KILLS:
            print(killed(broken, text, seconds, overrides), flush=True)
        subprocess.run(command("demo", broken, overrides), check=True, cwd=PROJECT, stdout=subprocess.DEVNULL)
        wanted, found = tables(whole, overrides), tables(broken, overrides)
    print(f"{'table':<32}{'rows':>10}  equal")
    for name in sorted(wanted | found):
        print(f"{name:<32}{found.get(name, (0, ''))[0]:>10,}  {wanted.get(name) == found.get(name)}")
    return 0 if wanted == found and wanted else 1


if __name__ == "__main__":
    sys.exit(main())
