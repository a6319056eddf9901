from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from featurelib.errors import ConfigError
from featurelib.reports import charts, formats
from featurelib.reports.charts import Axis, Frame, Series
from featurelib.reports.run_report import RunReport, render_run_report

VOID = {"meta", "br", "img", "link", "input", "hr", "col"}
SCRIPT = "<script>alert(1)</script>"


class Balance(HTMLParser):
    """Reads a page and fails where a tag is closed that is not the open one."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open = self.open if tag in VOID else self.open[:-1]

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag, f"</{tag}> closes another tag at line {self.getpos()[0]}"

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(page: str) -> Balance:
    """Read a page to its end; every tag is closed."""
    reader = Balance()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def text_of(page: str) -> str:
    """Return the words of a page with single spaces between them."""
    return " ".join(" ".join(read(page).words).split())


def values() -> dict[str, Any]:
    """Return a report with every part, small enough to read."""
    return {
        "pipeline": "flights",
        "env": "local",
        "as_of": "2013-12-31T00:00:00Z",
        "run_id": "run-1",
        "verdict": "promoted",
        "positive": "late",
        "stages": [
            {"name": "ingest", "summary": "365 files", "seconds": 4.23, "rows": 336776},
            {"name": "train", "summary": "14 trials", "seconds": 75.0},
        ],
        "ingest": [
            {"table": "flights", "files": 365, "rows_in": 336776, "passed": 336770, "quarantined": 6, "reasons": {"delay_plausible": 4, "duplicate": 2}},
            {"table": "weather", "files": 365, "rows_in": 26115, "passed": 26115, "quarantined": 0, "reasons": {}},
        ],
        "views": [{"view": "origin_departures", "entity": "origin", "source": "departures", "features": ["a_1", "a_2"], "windows": ["1h", "3h"]}],
        "null_shares": {"a_1": 0.1, "a_2": 0.3},
        "lift": [
            {"name": "calendar and route", "features": 8, "roc_auc": 0.612, "pr_auc": 0.295},
            {"name": "both", "features": 46, "roc_auc": 0.757, "pr_auc": 0.482},
        ],
        "by_estimator": {"random_forest": {"roc_auc": 0.736, "pr_auc": 0.45}, "xgboost": {"roc_auc": 0.757, "pr_auc": 0.482}},
        "trials": [
            {"number": 2, "estimator": "xgboost", "parameters": {"max_depth": 6, "learning_rate": 0.123456}, "value": 0.7512, "seconds": 12.0, "state": "ok"},
            {"number": 1, "estimator": "random_forest", "parameters": {}, "value": None, "seconds": None, "state": "failed"},
        ],
        "evaluation": {
            "rows": 54321, "positives": 11625, "roc_auc": 0.757, "pr_auc": 0.482, "log_loss": 0.447, "brier": 0.1421, "threshold": 0.274,
            "accuracy": 0.763, "precision": 0.45, "recall": 0.58, "f1": 0.507,
            "roc": [[0, 0], [0.2, 0.6], [1, 1]], "precision_recall": [[0, 0.9], [1, 0.21]], "calibration": [[0.1, 0.12, 900], [0.5, 0.48, 100]],
        },
        "importance": [["a_1", 0.6], ["a_2", 0.4]],
        "by_hour": [[6, 900, 0.1, 0.12], [20, 100, 0.35, 0.33]],
        "gate": {"passed": True, "mode": "enabled", "reasons": ["roc_auc 0.757 reaches 0.720"]},
        "model": {"name": "late_arrival", "version": 4, "sha256": "9f86d0"},
        "versions_read": {"silver.flights": 5},
        "versions_written": {"training.flights": 2},
        "tracking": "mlflow ui",
        "reproduce": "featurelib replay --run run-1",
    }  # fmt: skip


def report(**changes: Any) -> RunReport:
    """Return the full report with some parts changed."""
    return RunReport.from_dict({**values(), **changes})


# --- numbers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("write", "number", "expected"),
    [
        (formats.count, 336776, "336,776"),
        (formats.count, None, "–"),
        (formats.metric, 0.75249, "0.752"),
        (formats.metric, float("nan"), "–"),
        (formats.difference, 0.145, "+0.145"),
        (formats.difference, -0.012, "−0.012"),
        (formats.share, 0.1234, "12.3%"),
        (formats.share, 0.0028, "0.28%"),
        (formats.share, 0.00001, "<0.01%"),
        (formats.share, 0, "0%"),
        (formats.share, 1, "100%"),
        (formats.share, None, "–"),
        (formats.seconds, 0.052, "0.05 s"),
        (formats.seconds, 4.23, "4.2 s"),
        (formats.seconds, 59.97, "1 min 0 s"),
        (formats.seconds, 75, "1 min 15 s"),
        (formats.seconds, 7500, "2 h 5 min"),
        (formats.seconds, None, "–"),
        (formats.parameter, 0.000123456, "0.000123"),
        (formats.parameter, 30, "30"),
        (formats.parameter, True, "True"),
        (formats.words, "gradient_boosted_trees", "gradient boosted trees"),
    ],
)
def test_numbers_are_written_for_people(write: Any, number: Any, expected: str) -> None:
    """Each kind of number has one form; an absent one is a dash."""
    assert write(number) == expected


# --- charts ---------------------------------------------------------------------------------------------


UNIT = Frame("A & B", Axis("x", 0, 1), Axis("y", 0, 1, percent=True))


def test_line_chart_is_well_formed_and_complete() -> None:
    """A chart parses as XML and holds its title, labels, ticks, legend, line, dots and bars."""
    svg = ET.fromstring(
        charts.line_chart(
            [Series("model <1>", [(0, 0), (0.5, 0.8), (1, 1)]), Series("rows", [(0.2, 0.2, 10)], "dots")],
            frame=UNIT,
            bars=[(0.5, 10)],
        )
    )
    texts = ["".join(one.itertext()) for one in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {"A & B", "x", "y", "0.2", "1", "20%", "100%", "model <1>", "rows"} <= set(texts)
    tags = [one.tag.rpartition("}")[2] for one in svg.iter()]
    assert tags.count("polyline") == 1
    assert tags.count("circle") == 2
    assert svg.get("aria-label") == "A & B"


def test_line_chart_leaves_out_what_is_not_finite() -> None:
    """A point with NaN or infinity is not drawn; the others are."""
    drawn = charts.line_chart(
        [Series("m", [(0, float("nan")), (0, 0), (1, float("inf")), (1, 1)])], frame=UNIT
    )
    line = next(ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}polyline"))
    assert len(line.get("points", "").split()) == 2
    assert "nan" not in drawn
    assert "inf" not in drawn


def test_line_chart_of_nothing_is_its_axes() -> None:
    """A series without points draws no line and fails nothing."""
    drawn = charts.line_chart([Series("m", [])], frame=UNIT)
    assert "polyline" not in drawn
    ET.fromstring(drawn)


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    """A curve of 100,000 points is drawn with a few hundred, the first and the last among them."""
    points = [(n / 99_999, n / 99_999) for n in range(100_000)]
    line = next(
        ET.fromstring(charts.line_chart([Series("m", points)], frame=UNIT)).iter(
            "{http://www.w3.org/2000/svg}polyline"
        )
    )
    drawn = line.get("points", "").split()
    assert len(drawn) <= 300
    assert drawn[0].startswith("46")
    assert drawn[-1].startswith("346")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (-0.5, 23.5, ["0", "5", "10", "15", "20"]),
        (0.722, 0.758, ["0.73", "0.74", "0.75"]),
        (3, 3, ["3"]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[str]) -> None:
    """Ticks stand at round values inside the range, whatever the range."""
    assert [text for _, text in Axis("x", low, high).ticks] == expected


def test_strip_chart_names_the_best_of_each_group() -> None:
    """Each group has a lane with a dot a value and its best value; an empty group has none."""
    drawn = charts.strip_chart(
        {"<xgb>": [0.74, 0.75], "forest": [0.73], "none": []}, title="Trials", label="AUC"
    )
    svg = ET.fromstring(drawn)
    texts = ["".join(one.itertext()) for one in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {"<xgb>", "0.750", "forest", "0.730"} <= set(texts)
    assert "none" not in texts
    assert "<xgb>" not in drawn


def test_strip_chart_of_a_loss_names_the_least() -> None:
    """Where less is better, the least value is the best."""
    drawn = charts.strip_chart({"xgb": [0.44, 0.47]}, title="Trials", label="log loss", best="min")
    texts = ["".join(one.itertext()) for one in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert "0.440" in texts


def test_strip_chart_of_nothing_is_empty() -> None:
    """No finite value at all draws no chart."""
    assert charts.strip_chart({"xgb": [float("nan")]}, title="Trials", label="AUC") == ""


def test_bullet_is_as_long_as_its_value() -> None:
    """The bar's share of its track is the value's place on the axis; a value beyond it stays inside."""
    for value, expected in ((0.65, "80"), (0.4, "0"), (0.9, "160")):
        svg = ET.fromstring(charts.bullet(value, axis=Axis("AUC", 0.5, 0.8), marker=0.7))
        widths = {one.get("class"): one.get("width") for one in svg.iter("{http://www.w3.org/2000/svg}rect")}
        assert widths["fill"] == expected


# --- the page -------------------------------------------------------------------------------------------

SECTIONS = {
    "verdict": ("gate", "model"),
    "lift": ("lift",),
    "quality": ("evaluation", "by_hour"),
    "importance": ("importance",),
    "tuning": ("trials", "by_estimator"),
    "features": ("views",),
    "ingest": ("ingest",),
    "stages": ("stages",),
    "again": ("versions_read", "versions_written", "tracking", "reproduce"),
}


def test_page_is_well_formed_and_has_every_section() -> None:
    """A full report is balanced HTML with all its sections, in order."""
    assert read(render_run_report(report())).ids == list(SECTIONS)


def test_page_is_self_contained() -> None:
    """The page has no script and names no address to load anything from."""
    page = render_run_report(report())
    seen = read(page).seen
    assert not {"script", "link", "img", "iframe"} & set(seen)
    assert "http" not in page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "url(" not in page


@pytest.mark.parametrize("section", SECTIONS)
def test_missing_part_leaves_its_section_out(section: str) -> None:
    """Without its input a section is absent and every other one stands."""
    kept = {name: value for name, value in values().items() if name not in SECTIONS[section]}
    ids = read(render_run_report(RunReport.from_dict(kept))).ids
    assert ids == [one for one in SECTIONS if one != section]


def test_report_of_ingest_alone_says_what_is_missing() -> None:
    """A run without training renders, and says in plain sentences what it did not do."""
    kept = {
        name: values()[name] for name in ("pipeline", "env", "as_of", "run_id", "verdict", "stages", "ingest")
    }
    text = text_of(render_run_report(RunReport.from_dict(kept)))
    assert "No model was evaluated in this run" in text
    assert "No features were built in this run" in text
    assert "Nothing was ingested" not in text


def test_everything_is_escaped() -> None:
    """A name that is markup is shown as text, wherever it stands: tables, charts, lists, commands."""
    full = values()
    full["views"][0] |= {"entity": SCRIPT, "features": [SCRIPT]}
    full["stages"][0]["summary"] = SCRIPT
    full["trials"][0] |= {"estimator": SCRIPT, "parameters": {SCRIPT: SCRIPT}}
    full["ingest"][0]["reasons"] = {SCRIPT: 6}
    full |= {
        "pipeline": SCRIPT,
        "positive": SCRIPT,
        "reproduce": SCRIPT,
        "importance": [[SCRIPT, 1.0]],
        "run_id": SCRIPT,
    }
    full["gate"]["reasons"] = [SCRIPT]
    page = render_run_report(RunReport.from_dict(full))
    assert "script" not in read(page).seen
    assert page.count("&lt;script&gt;") > 8


def test_figures_are_formatted() -> None:
    """Counts have thousands, metrics three decimals, differences a sign, times a unit."""
    text = text_of(render_run_report(report()))
    for figure in ("336,776", "0.757", "+0.145", "4.2 s", "1 min 15 s", "21.4%", "learning_rate 0.123"):
        assert figure in text


def test_prototype_figures_stand_beside_the_lift() -> None:
    """The flights pipeline shows the prototype's ROC AUC for each set of features, other pipelines show none."""
    assert {"0.610", "0.755"} <= set(text_of(render_run_report(report())).split())
    assert "prototype" not in text_of(render_run_report(report(pipeline="taxis")))
    assert "0.701" in text_of(render_run_report(report(pipeline="taxis", reference={"both": 0.701})))


def test_metrics_that_are_not_defined_are_dashes() -> None:
    """A test set of one class has no AUC: the page renders, with dashes and without bars."""
    full = values()
    for step in full["lift"]:
        step |= {"roc_auc": None, "pr_auc": None, "features": ["a_1", "a_2"]}
    full["by_estimator"]["xgboost"] = {"roc_auc": None, "pr_auc": None}
    full["evaluation"] |= {"roc_auc": None, "pr_auc": None, "roc": [], "precision_recall": [], "positives": 0}
    page = render_run_report(RunReport.from_dict(full))
    assert "model, area –" in text_of(page)
    assert 'class="bullet"' not in page


def test_failed_trials_say_why() -> None:
    """A trial that failed shows its reason beside its state."""
    failed = values()["trials"][1] | {"reason": "out of memory"}
    assert "failed out of memory" in text_of(render_run_report(report(trials=[failed])))


def test_slices_stand_beside_their_parent() -> None:
    """Each slice has a row, the largest first, with both figures or the reason why the parent predicts it."""
    own = {
        "segment": "UA",
        "state": "own",
        "train_rows": 9000,
        "test_rows": 900,
        "roc_auc": 0.7512,
        "parent_roc_auc": 0.7411,
        "first_feature": "hour",
        "reason": "",
    }
    small = {
        "segment": "OO",
        "state": "parent",
        "train_rows": 20,
        "test_rows": 1,
        "roc_auc": None,
        "parent_roc_auc": None,
        "first_feature": None,
        "reason": "20 rows, <few>",
    }
    page = render_run_report(report(segments=[small, own]))
    text = text_of(page)
    assert "slices" in read(page).ids
    assert "1 of 2 slices have models of their own" in text
    assert text.index("UA 9,000 900 0.751 0.741 hour own") < text.index("OO 20 1")
    assert "20 rows, <few>" in text
    assert "slices" not in read(render_run_report(report())).ids


def test_ingest_adds_up_or_says_so() -> None:
    """Rows in are passed and quarantined; where they are not, the page says so."""
    assert "does not add up" not in text_of(render_run_report(report()))
    wrong = [values()["ingest"][0] | {"passed": 1}]
    assert "does not add up" in text_of(render_run_report(report(ingest=wrong)))


def test_ingest_of_no_rows_renders() -> None:
    """A day without rows divides nothing by nought."""
    empty = [{"table": "flights", "files": 0, "rows_in": 0, "passed": 0, "quarantined": 0, "reasons": {}}]
    assert "flights" in text_of(render_run_report(report(ingest=empty)))


@pytest.mark.parametrize(
    ("verdict", "tone"), [("promoted", "good"), ("rejected", "bad"), ("dry run", "plain")]
)
def test_verdict_has_its_colour(verdict: str, tone: str) -> None:
    """The badge is good, bad or neither, by the verdict."""
    assert f'<span class="badge {tone}">{verdict}</span>' in render_run_report(report(verdict=verdict))


def test_report_survives_json() -> None:
    """A report written to JSON and read again is the same page."""
    again = RunReport.from_dict(json.loads(json.dumps(report().to_dict())))
    assert render_run_report(again) == render_run_report(report())


def test_unknown_key_is_refused() -> None:
    """A misspelt key is an error that names the nearest known one."""
    with pytest.raises(ConfigError, match=r"'evalution'(.|\n)*Did you mean 'evaluation'"):
        report(evalution={})


def test_wrong_type_is_refused_with_its_place() -> None:
    """A value of the wrong type is named by its path in the report."""
    with pytest.raises(ConfigError, match=r"stages\.0\.seconds"):
        report(stages=[{"name": "ingest", "summary": "", "seconds": "long"}])
