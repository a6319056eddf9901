"""What a reviewer looks at before approving a version, looked up and held against plain bounds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from featurelib.pipeline.leak_audits import last_audit
from featurelib.registry.versions import RegisteredModel
from featurelib.specs import ModelSpec
from featurelib.tables import Store

State = Literal["met", "not met", "not measured"]

WIDEST_INTERVAL = 0.05
"""The greatest width of a ROC AUC's 95% interval."""
MOST_CALIBRATION_ERROR = 0.05
FEWEST_SLICE_ROWS = 100
"""Below it a slice's figures are luck: the card shows them with their intervals, the checklist does not."""
MOST_DRIFT = 0.25
"""Above it a feature is usually called shifted (Siddiqi, "Credit Risk Scorecards", 2006)."""


@dataclass(frozen=True)
class Check:
    """An item of the checklist: what was looked at, how it stands, and what was found."""

    item: str
    state: State
    said: str

    def to_dict(self) -> dict[str, str]:
        """Return the item as plain JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.item}: {self.state}, {self.said}"


def checklist(
    registered: RegisteredModel, result: Mapping[str, Any], model: ModelSpec, store: Store
) -> tuple[Check, ...]:
    """Return every item for a version.

    Args:
        registered: the version.
        result: what was recorded at its training.
        model: today's spec; its gate's bounds stand in for the plain ones.
        store: where leak audits are noted.
    """
    review = result.get("review", {})
    return (
        _leaks(registered, store),
        _interval(review),
        _calibration(result, model),
        _slices(result),
        _weeks(result, review),
        _fairness(review, model),
        _champion(review),
        _explained(review),
        _drift(registered, model),
        _words(model),
    )


def open_items(checks: tuple[Check, ...]) -> Iterator[str]:
    """Return a sentence for each item that is not met."""
    for check in checks:
        if check.state != "met":
            yield f"checklist, {check}"


def _leaks(registered: RegisteredModel, store: Store) -> Check:
    item = "leak audit"
    for table, version in json.loads(registered.tags.get("delta_versions", "{}")).items():
        audit = last_audit(store, table, version)
        if audit is None:
            return Check(
                item, "not measured", f"run audit-leaks while {table} version {version} is published"
            )
        if audit["leaks"]:
            return Check(item, "not met", str(audit["leaks"]))
        return Check(item, "met", f"{audit['rows']:,} rows, {audit['features']} features, no leak")
    return Check(item, "not measured", "the version names no training set")


def _interval(review: Mapping[str, Any]) -> Check:
    item, found = "narrow interval", review.get("intervals", {}).get("roc_auc")
    if found is None:
        return Check(item, "not measured", "too few days to draw from")
    width = found[1] - found[0]
    said = f"ROC AUC {found[0]:.3f} to {found[1]:.3f}, at most {WIDEST_INTERVAL} wide"
    return _check(item, said, is_met=width <= WIDEST_INTERVAL)


def _calibration(result: Mapping[str, Any], model: ModelSpec) -> Check:
    item, found = "calibration", result.get("evaluation", {}).get("calibration_error")
    if found is None:
        is_number = result.get("task") == "regression"
        return Check(
            item,
            "not measured",
            "the label is a number: look at the curves" if is_number else "train it again",
        )
    bound = model.gate.calibration_error or MOST_CALIBRATION_ERROR
    return _check(item, f"error {found:.4f}, at most {bound}", is_met=found <= bound)


def _slices(result: Mapping[str, Any]) -> Check:
    item, baseline = "slices", result.get("baseline", {}).get("roc_auc")
    found = [
        one
        for one in result.get("slices", ())
        if one["roc_auc"] is not None and one["rows"] >= FEWEST_SLICE_ROWS
    ]
    if not found or baseline is None:
        return Check(item, "not measured", f"no slice has {FEWEST_SLICE_ROWS} rows and both labels")
    lowest = min(found, key=lambda one: float(one["roc_auc"]))
    said = (
        f"lowest of {len(found)} ROC AUC {lowest['roc_auc']:.3f}, {lowest['column']} {lowest['value']} "
        f"({lowest['rows']:,} rows); the baseline on all rows has {baseline:.3f}"
    )
    return _check(item, said, is_met=lowest["roc_auc"] >= baseline)


def _weeks(result: Mapping[str, Any], review: Mapping[str, Any]) -> Check:
    item, baseline = "stability", result.get("baseline", {}).get("roc_auc")
    lowest = review.get("stability", {}).get("worst_week")
    if lowest is None or baseline is None:
        return Check(item, "not measured", "no week has rows of both labels")
    said = (
        f"lowest week ROC AUC {lowest['roc_auc']:.3f}, from {lowest['period']} ({lowest['rows']:,} rows); "
        f"the baseline on all rows has {baseline:.3f}"
    )
    return _check(item, said, is_met=lowest["roc_auc"] >= baseline)


def _fairness(review: Mapping[str, Any], model: ModelSpec) -> Check:
    item, found = "fairness", review.get("fairness")
    if not found:
        return Check(item, "not measured", "no groups are declared")
    demands = model.gate.fairness
    if demands is None:
        missed = [column for column, one in found.items() if one["four_fifths"] is False]
        said = f"selection rates below four fifths of another's by {', '.join(missed)}" if missed else (
            f"four fifths kept by {', '.join(found)}"
        )  # fmt: skip
        return _check(item, said, is_met=not missed)
    missed = [
        f"{name.replace('_', ' ')} by {column} {one[name]:.3f}"
        for column, one in found.items()
        for name, bound in demands.model_dump(exclude_none=True).items()
        if one[name] is None or (one[name] < bound if name == "disparate_impact" else one[name] > bound)
    ]
    return _check(
        item, "; ".join(missed) or f"within the gate's bounds by {', '.join(found)}", is_met=not missed
    )


def _champion(review: Mapping[str, Any]) -> Check:
    found = review.get("champion")
    if found is None:
        return Check("champion", "met", "there was none to compare with on the same rows")
    said = f"{found['metric']} {found['difference']:+.4f} to version {found['version']} on the same rows"
    if found["interval"]:
        said += f", 95% interval {found['interval'][0]:+.4f} to {found['interval'][1]:+.4f}"
    is_worse = bool(found["interval"]) and found["interval"][1] < 0
    return _check("champion", said, is_met=not is_worse)


def _explained(review: Mapping[str, Any]) -> Check:
    found = review.get("explanation")
    if not found:
        return Check("explanation", "not measured", "no explanation is asked for")
    kinds = [kind for kind in ("contributions", "permutation", "partial_dependence") if kind in found]
    return Check("explanation", "met", f"{', '.join(kinds).replace('_', ' ')} on {found['rows']:,} rows")


def _drift(registered: RegisteredModel, model: ModelSpec) -> Check:
    found = registered.metrics.get("drift")
    if found is None:
        return Check("drift", "not measured", "no gate asks for it")
    bound = model.gate.drift or MOST_DRIFT
    return _check("drift", f"greatest stability index {found:.3f}, at most {bound}", is_met=found <= bound)


def _words(model: ModelSpec) -> Check:
    missing = [
        name
        for name, value in (
            ("intended_use", model.review.intended_use or model.description),
            ("out_of_scope", model.review.out_of_scope),
            ("owner", model.review.owner),
        )
        if not value.strip()
    ]
    return _check("words", f"missing: {', '.join(missing)}" if missing else "use, scope and owner are given",
                  is_met=not missing)  # fmt: skip


def _check(item: str, said: str, *, is_met: bool) -> Check:
    return Check(item, "met" if is_met else "not met", said)
