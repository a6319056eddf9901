"""Promote, roll back and approve by commands: a shop's project, MLflow on sqlite, no JVM."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from featurelib.cli import run
from featurelib.config import load_project
from featurelib.pipeline.definitions import features_hash, short_definitions
from featurelib.registry.audit import MOVES
from featurelib.registry.tracker import Tracker
from featurelib.specs import Project
from featurelib.tables import Store, rows_of
from tests.unit.shop_project import mutated, write_project
from tests.without_spark.registered import register

Command = Callable[..., int]
WHO = ("--by", "ann", "--note", "better on returns")


@pytest.fixture
def project(tmp_path: Path, empty_database: Path) -> Project:
    """The shop, whose only model is ``returns`` and whose gate asks for a ROC AUC of 0.6."""
    project = load_project(write_project(tmp_path), env="local", environ={})
    database = Path(project.settings.tracking.tracking_uri.removeprefix("sqlite:///"))
    database.parent.mkdir(parents=True)
    shutil.copy(empty_database, database)
    return project


@pytest.fixture
def tracker(project: Project) -> Tracker:
    """The shop's registry."""
    return Tracker(project.settings.tracking)


@pytest.fixture
def trained(project: Project, tracker: Tracker, tmp_path: Path) -> Callable[..., int]:
    """Return what registers a version trained on today's features, as challenger; it gives the version."""

    def make(roc_auc: float = 0.75) -> int:
        tags: dict[str, object] = {
            "features_hash": features_hash(project),
            "definitions": json.dumps(short_definitions(project)),
            "delta_versions": json.dumps({"training.shop": 3}),
        }
        version = register(tracker, tmp_path, "returns", roc_auc=roc_auc, tags=tags).version
        tracker.set_aliases("returns", {"challenger": version})
        return version

    return make


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Return what runs a command on the shop, as the console does, and gives its exit code."""

    def call(name: str, *arguments: str) -> int:
        return run([name, *arguments, "--pipeline", str(tmp_path / "conf" / "shop"), "--env", "local"])

    return call


def of(version: int) -> tuple[str, ...]:
    """The options that name a version of the model."""
    return ("--model", "returns", "--version", str(version))


def test_promoted_listed_and_rolled_back(
    project: Project,
    tracker: Tracker,
    trained: Callable[..., int],
    command: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The commands move the aliases, and the list tells who decided what and why."""
    assert command("promote", *of(trained(0.70)), *WHO) == 0
    assert command("promote", *of(trained(0.75)), "--by", "bob", "--note", "spring data") == 0
    assert tracker.aliases("returns") == {"champion": 2, "previous_champion": 1}
    capsys.readouterr()

    assert command("rollback", "--model", "returns", "--by", "carol", "--note", "alarms") == 0
    said = capsys.readouterr().out
    assert "champion of returns is version 1 again (before: version 2)" in said
    assert "trained on training.shop version 3, no longer readable" in said
    assert tracker.aliases("returns") == {"champion": 1}

    assert command("models") == 0
    first, second = capsys.readouterr().out.splitlines()[1:]
    assert first.split()[:5] == ["returns", "2", "roc_auc", "0.75", "0.6"]
    assert "passes" in first
    assert "promote by bob" in first
    assert "spring data" in first
    assert second.split()[:3] == ["returns", "1", "champion"]
    assert "rollback by carol" in second
    assert "alarms" in second

    assert command("models", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    champions = [
        (move["from_version"], move["to_version"]) for move in listed["moves"] if move["alias"] == "champion"
    ]
    assert champions == [(None, 1), (1, 2), (2, 1)]
    assert [version["aliases"] for version in listed["versions"]] == [[], ["champion"]]


def test_a_rollback_to_any_earlier_champion(
    tracker: Tracker, trained: Callable[..., int], command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """Named with --to; a version that never was champion, and one with nothing before it, end with 4."""
    for roc_auc in (0.70, 0.72, 0.75, 0.76):
        version = trained(roc_auc)
        if version < 4:
            assert command("promote", *of(version), *WHO) == 0
    assert command("rollback", "--model", "returns", "--to", "4", *WHO) == 4
    assert "never had champion 4\n  expected: an earlier champion: one of 1, 2" in capsys.readouterr().err
    assert command("rollback", "--model", "returns", "--to", "1", *WHO) == 0
    assert tracker.aliases("returns") == {"champion": 1, "challenger": 4}
    assert command("rollback", "--model", "returns", *WHO) == 4
    assert "has no champion before this one" in capsys.readouterr().err
    assert command("rollback", "--model", "returns", "--to", "1", *WHO) == 5


def test_the_gate_holds_back_and_is_overruled_in_writing(
    project: Project,
    tracker: Tracker,
    trained: Callable[..., int],
    command: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """0.55 misses the minimum of 0.6: refused, until somebody says --despite-gate; the audit keeps both reasons."""
    version = trained(0.55)
    assert command("promote", *of(version), *WHO) == 4
    assert "roc_auc 0.5500 is below 0.6000, the minimum" in capsys.readouterr().err
    assert tracker.aliases("returns") == {"challenger": 1}
    assert command("models") == 0
    assert "holds back" in capsys.readouterr().out

    assert command("promote", *of(version), *WHO, "--despite-gate") == 0
    assert tracker.aliases("returns") == {"champion": 1}
    notes = {
        row["note"] for row in rows_of(Store(project.settings.root), MOVES) if row["action"] == "promote"
    }
    (note,) = notes
    assert note.startswith("better on returns (despite the gate: roc_auc 0.5500 is below")


@pytest.mark.parametrize(("mode", "code"), [("enabled", 4), ("dry_run", 0), ("disabled", 0)])
def test_only_an_enabled_gate_holds_back(
    mode: str, code: int, tmp_path: Path, trained: Callable[..., int], command: Command
) -> None:
    """A dry run says what it would do and lets pass; a disabled gate asks nothing."""
    write_project(tmp_path, mutated("shop/models.yaml", "mode: enabled", f"mode: {mode}"))
    assert command("promote", *of(trained(0.55)), *WHO) == code


def test_a_required_approval(
    tmp_path: Path,
    project: Project,
    tracker: Tracker,
    trained: Callable[..., int],
    command: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A passing version stays challenger until a reviewer approves it, which promotes it."""
    write_project(
        tmp_path, mutated("shop/models.yaml", "minimum: 0.6", "minimum: 0.6\n      approval: required")
    )
    version = trained(0.75)
    for options in ((), ("--despite-gate",)):
        assert command("promote", *of(version), *WHO, *options) == 4
        assert "nobody has approved it yet" in (said := capsys.readouterr().err)
        assert "featurelib approve --model returns --version 1" in said
    assert tracker.aliases("returns") == {"challenger": 1}
    assert command("models") == 0
    assert "awaits approval" in capsys.readouterr().out

    assert command("approve", *of(version), "--by", "rita", "--note", "read the report") == 0
    assert "version 1 of returns is approved and champion (before: none)" in capsys.readouterr().out
    assert tracker.aliases("returns") == {"champion": 1}
    rows = [row for row in rows_of(Store(project.settings.root), MOVES) if row["action"] == "approve"]
    assert [(row["to_version"], row["decided_by"], row["note"], row["state"]) for row in rows] == [
        (1, "rita", "read the report", "done")
    ]


def test_an_approval_does_not_stand_in_for_figures(
    tmp_path: Path,
    tracker: Tracker,
    trained: Callable[..., int],
    command: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An approved version that misses its minimum stays challenger, and the command says why."""
    write_project(
        tmp_path, mutated("shop/models.yaml", "minimum: 0.6", "minimum: 0.6\n      approval: required")
    )
    version = trained(0.55)
    assert command("approve", *of(version), *WHO) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0] == "version 1 of returns is approved"
    assert "is below 0.6000, the minimum" in said
    assert tracker.aliases("returns") == {"challenger": 1}
    assert command("promote", *of(version), *WHO, "--despite-gate") == 0


def test_features_that_mean_something_else_are_named(
    tmp_path: Path,
    tracker: Tracker,
    trained: Callable[..., int],
    command: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A window changed since training: promoting and rolling back both name the view, with exit code 4."""
    assert command("promote", *of(trained()), *WHO) == 0
    assert command("promote", *of(trained()), *WHO) == 0
    write_project(tmp_path, mutated("shop/features.yaml", "windows: [7d]", "windows: [8d]"))
    capsys.readouterr()
    assert command("rollback", "--model", "returns", *WHO) == 4
    said = capsys.readouterr().err
    assert "model returns version 1 was trained on features" in said
    assert "; changed since: view spending\n" in said
    assert command("promote", *of(trained()), *WHO) == 4
    assert tracker.aliases("returns")["champion"] == 2


def test_changed_files_are_neither_promoted_nor_rolled_back_to(
    project: Project,
    tracker: Tracker,
    trained: Callable[..., int],
    command: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A byte more is found by the hash; a hash changed with it is found by what the audit recorded."""
    for _ in range(2):
        assert command("promote", *of(trained()), *WHO) == 0
    victim = tracker.version("returns", 1)
    folder = Path(project.settings.tracking.artifact_root) / victim.run_id
    (metadata,) = folder.rglob("sparkml/metadata/part-00000")
    metadata.write_text(metadata.read_text() + " ")
    capsys.readouterr()
    assert command("rollback", "--model", "returns", *WHO) == 4
    assert "its files have sha256" in capsys.readouterr().err

    from featurelib.registry.files import model_sha256

    tracker.tag(victim, "model_sha256", model_sha256(metadata.parents[1]))
    assert command("rollback", "--model", "returns", *WHO) == 4
    assert f"{victim.sha256}, which it had when it was champion" in capsys.readouterr().err
    assert tracker.aliases("returns")["champion"] == 2


def test_a_decision_on_an_outdated_view_of_things_is_refused(
    tracker: Tracker, trained: Callable[..., int], command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """--if-champion names the champion that was looked at; another one, or none, ends with 4."""
    assert command("promote", *of(trained()), *WHO, "--if-champion", "7") == 4
    assert "the champion of model 'returns' is no version" in capsys.readouterr().err
    assert command("promote", *of(1), *WHO, "--if-champion", "0") == 0
    assert command("promote", *of(trained()), *WHO, "--if-champion", "1") == 0
    assert command("rollback", "--model", "returns", *WHO, "--if-champion", "1") == 4
    assert tracker.aliases("returns")["champion"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("promote", *of(1), "--by", "ann", "--note", " "), 2, "--note"),
        (("promote", *of(1), "--by", "", "--note", "why"), 2, "--by"),
        (("promote", *of(1), "--by", "ann"), 2, "Missing option '--note'"),
        (("promote", *of(9), *WHO), 4, "one of 1"),
        (("promote", "--model", "retruns", "--version", "1", *WHO), 2, "Did you mean 'returns'"),
        (("approve", *of(9), *WHO), 4, "one of 1"),
        (("models", "--model", "x"), 2, "unknown model 'x'"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: tuple[str, ...],
    code: int,
    said: str,
    trained: Callable[..., int],
    command: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody decides without a name and a reason, nor about what is not there."""
    trained()
    assert command(*arguments) == code
    assert said in capsys.readouterr().err


def test_promoting_the_champion_is_nothing_to_do(trained: Callable[..., int], command: Command) -> None:
    """Exit code 5, as for every command that finds its work done."""
    assert command("promote", *of(trained()), *WHO) == 0
    assert command("promote", *of(1), *WHO) == 5


def test_a_list_without_models(
    project: Project, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the first training there is nothing, and the commands say so without writing a table."""
    assert command("models") == 0
    assert capsys.readouterr().out == "no model is registered yet\n"
    assert command("models", "--moves") == 0
    assert capsys.readouterr().out == "nothing was decided yet\n"
    assert Store(project.settings.root).tables() == []


def test_an_alias_moved_by_hand_is_shown(
    tracker: Tracker, trained: Callable[..., int], command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """The list says where it is and where these commands left it."""
    assert command("promote", *of(trained()), *WHO) == 0
    trained()
    tracker.set_aliases("returns", {"champion": 2})
    capsys.readouterr()
    assert command("models") == 0
    assert (
        "champion of returns is at version 2; these commands left it at version 1" in capsys.readouterr().out
    )
