"""A challenger becomes champion only if its figures on the test rows allow it, and a reviewer where asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from featurelib.specs import Gate


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
        result: what ``TrainingResult.to_dict`` gives: ``evaluation`` and ``baseline`` are read.
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
    checks = [
        _at_least(gate.metric, value, gate.minimum, "the minimum"),
        _lift(gate, value, result["baseline"].get(gate.metric)),
        _champion(gate, value, (champion_metrics or {}).get(gate.metric)),
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


def _champion(gate: Gate, value: float, champion: float | None) -> tuple[bool, str]:
    if champion is None:
        return True, "there is no champion to compare with"
    what = f"the champion's {champion:.4f} less the {gate.worse_than_champion:.4f} allowed"
    return _at_least(gate.metric, value, champion - gate.worse_than_champion, what)
