from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from featurelib.errors import ConfigError
from featurelib.notebook import NotebookError, Output, parse_notebook, run_notebook
from featurelib.notebook.source import bound, parse_run, split_statements

EVERY_KIND = """\
# Databricks notebook source
# MAGIC %md
# MAGIC # Late flights
# MAGIC
# MAGIC Some *text*, some `code`.

# COMMAND ----------

# DBTITLE 1,Install
# MAGIC %pip install featurelib

# COMMAND ----------

dbutils.library.restartPython()

# COMMAND ----------

# DBTITLE 1,A sum
x = 1
x + 1

# COMMAND ----------

# MAGIC %sql
# MAGIC SELECT 1 AS one;
# MAGIC SELECT 'a;b' AS two -- not; here

# COMMAND ----------

# MAGIC %run ./other $env="local"

# COMMAND ----------

"""


def write(folder: Path, *cells: str, name: str = "one.py") -> Path:
    """Write a notebook of Python cells; each starts two lines after the one before it ends."""
    path = folder / name
    path.write_text("# Databricks notebook source\n" + "\n# COMMAND ----------\n".join(cells))
    return path


class Frame:
    """What the runner asks of a Spark frame."""

    columns = ("origin", "late")

    def limit(self, rows: int) -> Frame:
        assert rows > 0
        return self

    def collect(self) -> list[tuple[object, ...]]:
        return [("EWR", 0.25), (None, 3)]


def test_every_kind_of_cell_is_parsed() -> None:
    """Markdown, pip, Python, SQL and run cells are told apart; empty cells are left out."""
    cells = parse_notebook(EVERY_KIND)
    assert [cell.kind for cell in cells] == ["markdown", "skip", "python", "python", "sql", "run"]
    assert [cell.number for cell in cells] == [1, 2, 3, 4, 5, 6]
    assert [cell.title for cell in cells] == ["", "Install", "", "A sum", "", ""]


def test_markdown_loses_its_prefixes() -> None:
    """The text of a Markdown cell is what stands after ``# MAGIC`` and the magic itself."""
    text = parse_notebook(EVERY_KIND)[0].source.strip()
    assert text == "# Late flights\n\nSome *text*, some `code`."


def test_source_keeps_its_lines() -> None:
    """Line n of a cell's source stands in line ``cell.line + n`` of the file."""
    lines = EVERY_KIND.splitlines()
    cell = parse_notebook(EVERY_KIND)[3]
    offset = cell.source.splitlines().index("x + 1")
    assert lines[cell.line - 1 + offset] == "x + 1"


def test_magic_lines_inside_python_are_left_out() -> None:
    """A ``%pip`` line within a Python cell is skipped, as nothing is installed here."""
    cell = parse_notebook("# Databricks notebook source\ny = 1\n# MAGIC %pip install z\ny += 1\n")[0]
    assert cell.kind == "python"
    assert cell.source == "y = 1\n\ny += 1"


def test_header_is_needed() -> None:
    """A file without the header is no notebook, and the error says which line is missing."""
    with pytest.raises(ConfigError, match="# Databricks notebook source"):
        parse_notebook("x = 1\n", name="plain.py")


def test_unknown_magic_is_refused_with_its_place() -> None:
    """A magic of another language fails at parsing and names cell and line."""
    with pytest.raises(ConfigError, match=r"plain.py, cell 1, line 2: magic '%scala'"):
        parse_notebook("# Databricks notebook source\n# MAGIC %scala\n# MAGIC val x = 1\n", name="plain.py")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT ';'; SELECT 2;", ["SELECT ';'", " SELECT 2"]),
        ("SELECT 1 -- a; b\n", ["SELECT 1 -- a; b\n"]),
        ('SELECT `a;b`, "c;d" /* ; */; ', ['SELECT `a;b`, "c;d" /* ; */']),
        ("-- nothing here", []),
    ],
)
def test_statements_are_split_outside_quotes_and_comments(source: str, expected: list[str]) -> None:
    """Semicolons in quotes and comments part nothing; a comment alone is no statement."""
    assert split_statements(source) == expected


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT :origin", "SELECT 'EWR'"),
        ("SELECT ':origin' -- :origin", "SELECT ':origin' -- :origin"),
        ("SELECT 1::string, v:origin, :other", "SELECT 1::string, v:origin, :other"),
        ("SELECT :wild", r"SELECT 'a\'; DROP TABLE b \\'"),
    ],
)
def test_widgets_are_bound_as_literals(statement: str, expected: str) -> None:
    """A ``:name`` outside quotes becomes a quoted literal that its value cannot leave; casts and paths stay."""
    assert bound(statement, {"origin": "EWR", "wild": "a'; DROP TABLE b \\"}) == expected


def test_run_cells_take_parameters() -> None:
    """``%run`` gives its path and each ``$name=value``, quoted or not."""
    assert parse_run("%run ./a/b $x=\"1 2\" $y='z' $n=3") == ("./a/b", {"x": "1 2", "y": "z", "n": "3"})


def test_run_cell_of_another_form_is_refused() -> None:
    """``%run`` without a path says how it is written."""
    with pytest.raises(ConfigError, match=r"%run \./notebook"):
        parse_run("%run")


def test_cells_share_names_and_show_last_values(tmp_path: Path) -> None:
    """A later cell sees an earlier one's names; prints and last values are collected in order."""
    path = write(tmp_path, "x = 20\nprint('first')\n", "x + 1\n")
    result = run_notebook(path, spark=None)
    assert result.text == "first\n21\n"


def test_frames_become_tables(tmp_path: Path) -> None:
    """A displayed frame is a table of texts in which null stays null."""
    path = write(tmp_path, "display(spark)")
    assert run_notebook(path, spark=Frame()).tables == [  # type: ignore[arg-type]
        Output("table", "", ("origin", "late"), (("EWR", "0.25"), (None, "3")))
    ]


def test_parameters_override_defaults(tmp_path: Path) -> None:
    """A widget takes the parameter of its name, else its default."""
    path = write(
        tmp_path,
        "dbutils.widgets.text('env', 'local')\ndbutils.widgets.dropdown('size', 's', ['s', 'm'])",
        "print(dbutils.widgets.get('env'), dbutils.widgets.getAll())",
    )
    result = run_notebook(path, spark=None, parameters={"size": "m"})
    assert result.text == "local {'env': 'local', 'size': 'm'}\n"
    assert result.parameters == {"env": "local", "size": "m"}


def test_parameter_outside_the_choices_is_refused(tmp_path: Path) -> None:
    """A dropdown takes only its choices."""
    path = write(tmp_path, "dbutils.widgets.dropdown('size', 's', ['s', 'm'])")
    with pytest.raises(NotebookError, match=r"size='l'(.|\n)*one of s, m"):
        run_notebook(path, spark=None, parameters={"size": "l"})


def test_parameter_without_widget_is_refused(tmp_path: Path) -> None:
    """A misspelt parameter is an error that names the nearest widget, not silence."""
    path = write(tmp_path, "dbutils.widgets.text('env', 'local')")
    with pytest.raises(ConfigError, match=r"no widget 'enf'(.|\n)*Did you mean 'env'"):
        run_notebook(path, spark=None, parameters={"enf": "prod"})


def test_undefined_widget_is_refused(tmp_path: Path) -> None:
    """Reading a widget that no cell defined says which there are."""
    path = write(tmp_path, "dbutils.widgets.text('env', '')", "dbutils.widgets.get('env_')")
    with pytest.raises(NotebookError, match=r"widget 'env_' is not defined(.|\n)*Did you mean 'env'"):
        run_notebook(path, spark=None)


def test_error_names_notebook_cell_and_line(tmp_path: Path) -> None:
    """A failing cell is found by notebook, cell number and the line of the file, also within a call."""
    path = write(tmp_path, "def half(x):\n    return 1 / x\n", "\ny = 2\nhalf(0)\n")
    with pytest.raises(NotebookError, match=rf"{path}, cell 2, line 3: ZeroDivisionError") as caught:
        run_notebook(path, spark=None)
    assert (caught.value.notebook, caught.value.cell, caught.value.line) == (str(path), 2, 3)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_syntax_error_names_its_line(tmp_path: Path) -> None:
    """A cell that is no Python names the line that is wrong; earlier cells have run."""
    path = write(tmp_path, "x = 1\n", "\ny = 2\ny = = 3\n")
    with pytest.raises(NotebookError, match=r"cell 2, line 7: SyntaxError"):
        run_notebook(path, spark=None)


def test_error_survives_pickling(tmp_path: Path) -> None:
    """The place of a failure is kept when the error crosses a process."""
    with pytest.raises(NotebookError) as caught:
        run_notebook(write(tmp_path, "1 / 0"), spark=None)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.cell, again.line) == (str(caught.value), 1, 2)


def test_included_notebook_shares_names(tmp_path: Path) -> None:
    """``%run`` executes the other notebook in the same namespace, with the parameters it gives."""
    write(tmp_path, "dbutils.widgets.text('env', 'x')\nenv = dbutils.widgets.get('env')", name="other.py")
    path = write(tmp_path, '# MAGIC %run ./other $env="prod"\n', "print(env)")
    assert run_notebook(path, spark=None).text == "prod\n"


def test_error_in_included_notebook_names_that_notebook(tmp_path: Path) -> None:
    """A failure within ``%run`` is placed in the included file, not in the cell that includes it."""
    other = write(tmp_path, "1 / 0", name="other.py")
    with pytest.raises(NotebookError, match=rf"^{other}, cell 1, line 2"):
        run_notebook(write(tmp_path, "# MAGIC %run ./other\n"), spark=None)


def test_notebook_that_runs_itself_is_refused(tmp_path: Path) -> None:
    """A circle of ``%run`` ends in an error, not in a full stack."""
    with pytest.raises(NotebookError, match="runs itself"):
        run_notebook(write(tmp_path, "# MAGIC %run ./one\n"), spark=None)


def test_exit_leaves_with_a_value(tmp_path: Path) -> None:
    """``dbutils.notebook.exit`` ends the notebook, even within ``except Exception``."""
    path = write(tmp_path, "try:\n    dbutils.notebook.exit('done')\nexcept Exception:\n    pass\n", "1 / 0")
    assert run_notebook(path, spark=None).exit_value == "done"


def test_secrets_come_from_the_environment_and_are_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret is read from SCOPE_KEY and blotted out wherever it is shown."""
    monkeypatch.setenv("STORE_API_KEY", "s3cr3t")
    path = write(tmp_path, "key = dbutils.secrets.get('store', 'api-key')\nprint(len(key), key)")
    assert run_notebook(path, spark=None).text == "6 [REDACTED]\n"


def test_missing_secret_names_its_variable(tmp_path: Path) -> None:
    """A secret that is not set says which environment variable to set."""
    with pytest.raises(NotebookError, match="environment variable NOT_HERE"):
        run_notebook(write(tmp_path, "dbutils.secrets.get('not', 'here')"), spark=None)


def test_files_are_listed_and_read(tmp_path: Path) -> None:
    """``dbutils.fs`` lists a folder by name, folders with a slash, and reads the head of a file."""
    (tmp_path / "landed" / "flights").mkdir(parents=True)
    (tmp_path / "landed" / "a.csv").write_text("x,y")
    path = write(
        tmp_path,
        f"for one in dbutils.fs.ls('{tmp_path}/landed'): print(one.name, one.size)",
        f"dbutils.fs.head('file:{tmp_path}/landed/a.csv', 1)",
    )
    assert run_notebook(path, spark=None).text == "a.csv 3\nflights/ 0\nx\n"


def test_sql_needs_a_session(tmp_path: Path) -> None:
    """A SQL cell without a session is refused with what to pass."""
    with pytest.raises(NotebookError, match="pass spark to run_notebook"):
        run_notebook(write(tmp_path, "# MAGIC %sql\n# MAGIC SELECT 1\n"), spark=None)


def test_page_shows_every_output_and_escapes(tmp_path: Path) -> None:
    """The executed page holds Markdown as HTML, tables, prints; a script is text, HTML outputs are sandboxed."""
    path = write(
        tmp_path,
        "# MAGIC %md\n# MAGIC # Flights <script>alert(1)</script>\n",
        "# DBTITLE 1,Rows\nprint('<script>alert(2)</script>')\ndisplay(spark)",
        "displayHTML('<script>alert(3)</script>')",
    )
    page = tmp_path / "out.html"
    run_notebook(path, spark=Frame(), html=page)  # type: ignore[arg-type]
    text = page.read_text()
    assert "<h1>Flights" in text
    assert "<h3>Rows</h3>" in text
    assert "<td>EWR</td>" in text
    assert '<iframe sandbox srcdoc="&lt;script&gt;alert(3)' in text
    assert "<script" not in text


def test_page_is_written_when_a_cell_fails(tmp_path: Path) -> None:
    """The page of a failed run shows what came before and the error."""
    page = tmp_path / "out.html"
    with pytest.raises(NotebookError):
        run_notebook(write(tmp_path, "print('before')", "1 / 0", "print('after')"), spark=None, html=page)
    text = page.read_text()
    assert "print(&#39;before&#39;)" in text
    assert "cell 2, line 4: ZeroDivisionError" in text
    assert "after&#39;" not in text


def test_missing_notebook_is_refused(tmp_path: Path) -> None:
    """A path without a file says so."""
    with pytest.raises(ConfigError, match="an existing file"):
        run_notebook(tmp_path / "none.py", spark=None)
