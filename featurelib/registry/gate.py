"""A challenger becomes champion only if its figures on the test rows allow it, and a reviewer where asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from featurelib.specs import Gate

_NEXT = "the next one will if it can: with new data, or with another tuning.seed"


@dataclass(frozen=True)
class Verdict:
    """What the gate found.

    Attributes:
        good_enough: every demand on the figures is met, or the gate is disabled.
        mode: ``disabled`` asks nothing, ``dry_run`` asks and lets pass, ``enabled`` asks and holds.
        reasons: one sentence a demand, met or not.
        approved: a reviewer has approved the version, or none is asked.
    """

    good_enough: bool
    mode: Literal["disabled", "dry_run", "enabled"]
    reasons: tuple[str, ...]
    approved: bool = True

    @property
    def passed(self) -> bool:
        """Whether every demand is met."""
        return self.good_enough and self.approved

    @property
    def awaits_approval(self) -> bool:
        """Whether nothing but the approval is missing."""
        return self.good_enough and not self.approved

    @property
    def promotes(self) -> bool:
        """Whether the challenger may be promoted."""
        return self.passed or self.mode != "enabled"

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain JSON values."""
        return {
            "passed": self.passed,
            "mode": self.mode,
            "promotes": self.promotes,
            "reasons": list(self.reasons),
            "awaits_approval": self.awaits_approval,
        }


def gate(
    result: Mapping[str, Any],
    champion_metrics: Mapping[str, Any] | None,
    gate: Gate,
    *,
    approved_by: str | None = None,
) -> Verdict:
    """Hold a training's result against the gate.

    Args:
        result: what ``TrainingResult.to_dict`` gives: ``evaluation`` and ``baseline`` are read, and
            ``figures``: what the review measured, by name, with the comparison if it was with this champion.
        champion_metrics: the champion's recorded test metrics, or None if there is no champion.
        gate: the demands; a figure equal to its bound meets it.
        approved_by: the reviewer who approved the version, or None if nobody did.
    """
    if gate.mode == "disabled":
        return Verdict(good_enough=True, mode=gate.mode, reasons=("the gate is disabled",))
    approved = gate.approval == "none" or approved_by is not None
    value = result["evaluation"].get(gate.metric)
    if value is None:
        reason = f"the model has no {gate.metric}"
        return Verdict(good_enough=False, mode=gate.mode, reasons=(reason,), approved=approved)
    figures = result.get("figures", {})
    checks = [
        _at_least(gate.metric, value, gate.minimum, "the minimum"),
        _lift(gate, value, result["baseline"].get(gate.metric)),
        _champion(gate, value, (champion_metrics or {}).get(gate.metric), figures),
        *(_bounded(figures, name, bound, at_least=at_least) for name, bound, at_least in demands_of(gate)),
    ]
    found = [check for check in checks if check is not None]
    reasons = [reason for _, reason in found]
    if gate.approval == "required":
        reasons.append(f"approved by {approved_by}" if approved else "nobody has approved it yet")
    return Verdict(
        good_enough=all(met for met, _ in found), mode=gate.mode, reasons=tuple(reasons), approved=approved
    )


def _at_least(metric: str, value: float, bound: float, what: str) -> tuple[bool, str]:
    met = value >= bound
    return met, f"{metric} {value:.4f} {'reaches' if met else 'is below'} {bound:.4f}, {what}"


def _lift(gate: Gate, value: float, baseline: float | None) -> tuple[bool, str] | None:
    if gate.lift_over_baseline == 0:
        return None
    if baseline is None:
        return False, f"the baseline has no {gate.metric} to be lifted over"
    what = f"the baseline {baseline:.4f} plus the lift {gate.lift_over_baseline:.4f}"
    return _at_least(gate.metric, value, baseline + gate.lift_over_baseline, what)


def _champion(
    gate: Gate, value: float, champion: float | None, figures: Mapping[str, Any]
) -> tuple[bool, str]:
    if champion is None:
        return True, "there is no champion to compare with"
    name = f"champion_{gate.metric}"
    allowed = f"less the {gate.worse_than_champion:.4f} allowed"
    if f"{name}_difference" not in figures:
        if gate.significant:
            return False, f"it was not compared with this champion on the same rows, {_NEXT}"
        return _at_least(
            gate.metric,
            value,
            champion - gate.worse_than_champion,
            f"the champion's {champion:.4f} {allowed}",
        )
    same = figures[name]
    met, said = _at_least(
        gate.metric, value, same - gate.worse_than_champion,
        f"the champion's {same:.4f} on the same rows {allowed}",
    )  # fmt: skip
    low, high = figures.get(f"{name}_difference_low"), figures.get(f"{name}_difference_high")
    if low is None or high is None:
        return met and not gate.significant, f"{said}; too few days for an interval of the difference"
    p_value = figures[f"{name}_p_value"]
    said += f"; difference {value - same:+.4f}, 95% interval {low:+.4f} to {high:+.4f}, p {p_value:.3f}"
    if not gate.significant:
        return met, said
    sure = low > -gate.worse_than_champion
    return met and sure, f"{said}, {'beyond' if sure else 'within'} chance"


def demands_of(gate: Gate) -> list[tuple[str, float, bool]]:
    """Return the further demands of a gate: a figure's name, its bound, and whether that is the least."""
    fairness = {} if gate.fairness is None else gate.fairness.model_dump()
    given = {
        "calibration_error": gate.calibration_error,
        **fairness,
        "drift": gate.drift,
        "seconds_per_1000_rows": gate.seconds_per_1000_rows,
        "megabytes": gate.megabytes,
    }
    return [(name, bound, name == "disparate_impact") for name, bound in given.items() if bound is not None]


def _bounded(figures: Mapping[str, Any], name: str, bound: float, *, at_least: bool) -> tuple[bool, str]:
    words, value = name.replace("_", " "), figures.get(name)
    if value is None:
        return False, f"{words} was not measured at its training, {_NEXT}"
    met = value >= bound if at_least else value <= bound
    kept = "keeps to" if met else "misses"
    return met, f"{words} {value:.4f} {kept} the {'least' if at_least else 'most'} allowed, {bound:.4f}"
