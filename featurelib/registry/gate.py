"""A challenger becomes champion only if its figures on the untouched test rows allow it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from featurelib.specs import Gate


@dataclass(frozen=True)
class Verdict:
    """What the gate found.

    Attributes:
        passed: every demand is met, or the gate is disabled.
        mode: ``disabled`` asks nothing, ``dry_run`` asks and lets pass, ``enabled`` asks and holds.
        reasons: one sentence a demand, met or not.
    """

    passed: bool
    mode: Literal["disabled", "dry_run", "enabled"]
    reasons: tuple[str, ...]

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
        }


def gate(result: Mapping[str, Any], champion_metrics: Mapping[str, Any] | None, gate: Gate) -> Verdict:
    """Hold a training's result against the gate.

    Args:
        result: what ``TrainingResult.to_dict`` gives: ``evaluation`` and ``baseline`` are read.
        champion_metrics: the champion's recorded test metrics, or None if there is no champion.
        gate: the demands; a figure equal to its bound meets it.
    """
    if gate.mode == "disabled":
        return Verdict(passed=True, mode=gate.mode, reasons=("the gate is disabled",))
    value = result["evaluation"].get(gate.metric)
    if value is None:
        return Verdict(passed=False, mode=gate.mode, reasons=(f"the model has no {gate.metric}",))
    checks = [
        _at_least(gate.metric, value, gate.minimum, "the minimum"),
        _lift(gate, value, result["baseline"].get(gate.metric)),
        _champion(gate, value, (champion_metrics or {}).get(gate.metric)),
    ]
    found = [check for check in checks if check is not None]
    return Verdict(
        passed=all(met for met, _ in found), mode=gate.mode, reasons=tuple(reason for _, reason in found)
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


def _champion(gate: Gate, value: float, champion: float | None) -> tuple[bool, str]:
    if champion is None:
        return True, "there is no champion to compare with"
    what = f"the champion's {champion:.4f} less the {gate.worse_than_champion:.4f} allowed"
    return _at_least(gate.metric, value, champion - gate.worse_than_champion, what)
