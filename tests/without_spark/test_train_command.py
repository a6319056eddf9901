"""What the train command refuses before any session starts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from featurelib import cli
from featurelib.cli import run
from tests.unit.shop_project import write_project


@pytest.mark.parametrize("comment", [(), ("--comment", ""), ("--comment", "  ")])
def test_a_training_without_a_comment_is_refused(
    tmp_path: Path, comment: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Interactive training says why it is done, as a commit does; without it the command ends with 2."""
    folder = str(write_project(tmp_path))

    assert run(["train", "--as-of", "2024-08-01", "--pipeline", folder, *comment]) == 2

    said = capsys.readouterr().err
    assert "as a commit message says it" in said
    assert "--unattended" in said


def test_a_job_needs_no_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler's job says of itself that nobody is there to comment; other jobs are as they were."""
    given: list[list[str] | None] = []
    monkeypatch.setattr(cli, "main", given.append)
    monkeypatch.setattr(sys, "argv", ["jobs/train.py", "--as-of", "2024-08-01"])

    cli.job("train")
    cli.job("build_features")

    assert given == [
        ["train", "--unattended", "--as-of", "2024-08-01"],
        ["build-features", "--as-of", "2024-08-01"],
    ]


def test_an_unknown_run_is_refused_without_a_session(
    tmp_path: Path, empty_database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--from-run of what no model came from ends with 4 and says where runs are listed."""
    import shutil

    folder = write_project(tmp_path)
    database = tmp_path / "var" / "local" / "mlflow.db"
    database.parent.mkdir(parents=True)
    shutil.copy(empty_database, database)

    assert run(["train", "--from-run", "abc", "--pipeline", str(folder)]) == 4

    assert "featurelib models --json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "returns", "--key", "order=7"), "Did you mean 'order_id'"),
        (("--model", "return", "--key", "order_id=7"), "Did you mean 'returns'"),
        (("--model", "returns", "--key", "order_id"), "--key id=17"),
        (("--model", "returns", "--key", "order_id=7", "--method", "shap"), "one of contributions, lime"),
    ],
)
def test_a_wrong_question_about_a_prediction_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key column, a model or a method that is none ends with 2 before anything starts."""
    assert run(["explain", *arguments, "--pipeline", str(write_project(tmp_path))]) == 2

    assert said in capsys.readouterr().err
