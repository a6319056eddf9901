"""A search that dies and is run again goes on: no trial that ended is lost, and none is run twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from featurelib.specs import Tuning
from featurelib.tables.faults import VARIABLE, InjectedFault
from featurelib.training.journal import Journal
from tests.without_spark.searches import search_in, tried

ROOT = Path(__file__).resolve().parents[2]
RUNS = {
    "one at a time": Tuning(trials=9, parallelism=1),
    "two at a time": Tuning(trials=9, parallelism=2),
    "three at a time, Optuna": Tuning(trials=9, parallelism=3, backend="optuna"),
}


def outcomes(searched):
    """All but how long it took."""
    return [replace(trial, seconds=0.0) for trial in searched.trials]


def kept(folder):
    """The numbers of the trials in the journal's whole lines."""
    return set(Journal(folder / "journal" / "one.jsonl", "this search").read().trials)


def mended(folder, tuning, undisturbed):
    """Run the search again and assert that it ends as one that never died, repeating nothing that was kept."""
    before, already = tried(folder), kept(folder)

    again = search_in(folder, tuning)

    assert outcomes(again) == outcomes(undisturbed)
    assert again.resumed == len(already)
    assert sorted(tried(folder)[len(before) :]) == sorted(set(range(tuning.trials)) - already)


@pytest.mark.parametrize("tuning", RUNS.values(), ids=RUNS.keys())
@pytest.mark.parametrize("point", ["trial.begun@1", "trial.begun@6", "journal.before@4", "journal.after@5"])
def test_a_search_that_died_goes_on(tmp_path, monkeypatch, tuning, point):
    """Wherever a search dies, the next one keeps every trial in the journal and proposes what it would have."""
    (tmp_path / "other").mkdir()
    undisturbed = search_in(tmp_path / "other", tuning)
    monkeypatch.setenv(VARIABLE, f"raise:{point}")
    with pytest.raises(InjectedFault):
        search_in(tmp_path, tuning)
    monkeypatch.delenv(VARIABLE)
    if point == "journal.after@5":
        assert len(kept(tmp_path)) >= 5

    mended(tmp_path, tuning, undisturbed)


def test_a_killed_process_loses_no_trial_that_ended(tmp_path):
    """SIGKILL, three times, at three moments of one search of two threads: what was kept is never tried again."""
    tuning = RUNS["two at a time"]
    (tmp_path / "other").mkdir()
    undisturbed = search_in(tmp_path / "other", tuning)
    for point in ("journal.after@2", "journal.before@2", "trial.begun@3"):
        before, already = len(tried(tmp_path)), kept(tmp_path)
        child = subprocess.run(
            [sys.executable, "-m", "tests.without_spark.searches", str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, VARIABLE: f"kill:{point}", "TUNING": tuning.model_dump_json()},
            capture_output=True,
            text=True,
            check=False,
        )
        assert child.returncode == -signal.SIGKILL, child.stderr
        assert already <= kept(tmp_path)
        assert not already & set(tried(tmp_path)[before:])
    assert len(kept(tmp_path)) >= 3

    mended(tmp_path, tuning, undisturbed)


@pytest.mark.parametrize("torn", [b'{"trial": {"num', b'{"elapsed": 1.0}\n{"tri', b"\0" * 40])
def test_a_torn_line_is_cut_off(tmp_path, torn):
    """What a dying process left of a line is no trial, and does not spoil the lines that follow."""
    tuning = RUNS["one at a time"]
    undisturbed = search_in(tmp_path, tuning)
    path = tmp_path / "journal" / "one.jsonl"
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:5]) + torn)
    assert kept(tmp_path) == {0, 1, 2, 3}

    mended(tmp_path, tuning, undisturbed)

    assert kept(tmp_path) == set(range(9))


def test_the_journal_of_another_search_is_not_used(tmp_path):
    """Trials of other data or other spaces say nothing here: they are run, and the journal is written anew."""
    tuning = RUNS["one at a time"]
    search_in(tmp_path, tuning, search="that search")

    assert search_in(tmp_path, tuning).resumed == 0
    assert tried(tmp_path) == [*range(9), *range(9)]
    assert kept(tmp_path) == set(range(9))


def test_a_finished_search_is_not_tried_again(tmp_path):
    """All trials come from the journal, failed ones with their reason, equal to the bit."""
    tuning = RUNS["two at a time"]
    first = search_in(tmp_path, tuning)

    again = search_in(tmp_path, tuning)

    assert again.trials == first.trials
    assert again.resumed == 9
    assert sorted(tried(tmp_path)) == list(range(9))
    assert [trial.reason for trial in again.trials if trial.state == "failed"] == [
        "ValueError: singular matrix"
    ]


def test_a_registered_model_needs_no_journal(tmp_path):
    """What is removed is the journal and those of older specs of the same model, and nothing else."""
    search_in(tmp_path, RUNS["one at a time"])
    older = tmp_path / "journal" / "older.jsonl"
    older.write_bytes(b"{}\n")
    note = tmp_path / "journal" / "note.txt"
    note.write_text("ours")

    Journal(tmp_path / "journal" / "one.jsonl", "this search").discard()
    Journal(tmp_path / "nowhere" / "one.jsonl", "this search").discard()

    assert list((tmp_path / "journal").iterdir()) == [note]
