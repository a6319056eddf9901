"""Which features are left out, or refused, and why: statistics of single features and of pairs of them.

Everything here is arithmetic on arrays of a :class:`Look`; missing numbers are NaN, missing texts None.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from featurelib.errors import ModelGateError
from featurelib.preparation_specs import Select
from featurelib.training.look import Floats, Look, Texts

_KNOWS_AUC = 0.995
_KNOWS_CORRELATION = 0.999
_FEWEST = 30
_PSI_BINS = 10
_PSI_FLOOR = 1e-4


def dropped_by(look: Look, select: Select, *, later: Look | None = None) -> dict[str, str]:
    """Return the features that the rules leave out, each with its reason; a rule sees what others left.

    Args:
        look: training rows.
        select: the rules.
        later: validation rows, where stability is measured against these.
    """
    reasons: dict[str, str] = {}
    if select.variance is not None:
        reasons |= low_variance(look, threshold=select.variance)
    if select.unstable is not None:
        left = look.without(list(reasons))
        parts = _halves(left) if select.unstable.between == "train" else (left, later)
        reasons |= _unstable(*parts, threshold=select.unstable.psi)
    if select.correlation is not None:
        reasons |= correlated(look.without(list(reasons)), threshold=select.correlation)
    if select.chi_square is not None and look.label is not None:
        reasons |= independent(look.without(list(reasons)), threshold=select.chi_square)
    return reasons


def low_variance(look: Look, *, threshold: float) -> dict[str, str]:
    """Return the numbers whose variance over given values (division by n) is at or below the threshold."""
    found = {name: float(np.nanvar(values)) for name, values in look.numbers.items()}
    return {
        name: f"variance {value:.6g} is not above {threshold:.6g}"
        for name, value in found.items()
        if value <= threshold
    }


def correlated(look: Look, *, threshold: float) -> dict[str, str]:
    """Return the numbers whose absolute correlation with an earlier one that stays is above the threshold.

    A pair is measured on the rows in which both are given.
    """
    kept: dict[str, Floats] = {}
    reasons: dict[str, str] = {}
    for name, values in look.numbers.items():
        for other, others in kept.items():
            found = correlation(values, others)
            if abs(found) > threshold:
                reasons[name] = f"correlation {found:.4f} with {other} is above {threshold:.6g}"
                break
        else:
            kept[name] = values
    return reasons


def correlation(left: Floats, right: Floats) -> float:
    """Return Pearson's correlation over rows in which both are given; 0 where one does not vary there."""
    both = ~(np.isnan(left) | np.isnan(right))
    if both.sum() < 2:
        return 0.0
    x, y = left[both] - left[both].mean(), right[both] - right[both].mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else 0.0


def independent(look: Look, *, threshold: float) -> dict[str, str]:
    """Return the categories whose chi-square test against the label has a p-value above the threshold.

    A missing category is a value of its own.
    """
    reasons = {}
    for name, texts in look.categories.items():
        p_value = chi_square_p(texts, _of(look.label))
        if p_value > threshold:
            reasons[name] = f"chi-square p-value {p_value:.4f} is above {threshold:.6g}"
    return reasons


def chi_square_p(texts: Texts, label: Floats) -> float:
    """Return the p-value of Pearson's chi-square test of independence; 1 where one side has one value."""
    from scipy.special import chdtrc  # noqa: PLC0415 - only models that ask for the test need it

    rows = _codes(texts)
    columns = np.unique(label, return_inverse=True)[1]
    counts = np.zeros((rows.max(initial=0) + 1, columns.max(initial=0) + 1))
    np.add.at(counts, (rows, columns), 1.0)
    freedom = (counts.shape[0] - 1) * (counts.shape[1] - 1)
    if freedom == 0:
        return 1.0
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    return float(chdtrc(freedom, float(((counts - expected) ** 2 / expected).sum())))


def stability_index(earlier: Floats | Texts, later: Floats | Texts) -> float:
    """Return the population stability index of later values against earlier ones.

    Numbers fall into ten bins by the earlier quantiles, missing ones into a bin of their own; each text is
    a bin. A share below 0.0001 counts as 0.0001.
    """
    if earlier.dtype == object:
        codes = _codes(np.concatenate([earlier, later]))
    else:
        given = earlier[~np.isnan(earlier.astype(np.float64))].astype(np.float64)
        edges = (
            np.unique(np.quantile(given, np.linspace(0, 1, _PSI_BINS + 1)[1:-1]))
            if len(given)
            else np.array([])
        )
        both = np.concatenate([earlier, later]).astype(np.float64)
        codes = np.where(np.isnan(both), len(edges) + 1, np.searchsorted(edges, both, side="left"))
    bins = int(codes.max(initial=0)) + 1
    p = np.maximum(np.bincount(codes[: len(earlier)], minlength=bins) / max(len(earlier), 1), _PSI_FLOOR)
    q = np.maximum(np.bincount(codes[len(earlier) :], minlength=bins) / max(len(later), 1), _PSI_FLOOR)
    return float(((q - p) * np.log(q / p)).sum())


def refuse_known_label(look: Look, *, binary: bool, allowed: Sequence[str]) -> None:
    """Refuse features that tell the label by themselves: they were most likely written after it was known.

    For labels 0 and 1, whether the ROC AUC of the feature alone, or of its being missing, reaches 0.995
    either way; for numbers, whether its correlation or rank correlation reaches 0.999. A category is
    measured on one half of the rows by the mean labels of the other half. With fewer than 30 rows of a
    class there is no verdict.

    Raises:
        ModelGateError: one does and is not allowed; the error names all of them.
    """
    label = _of(look.label)
    found = {}
    for name in look.names:
        if name in allowed:
            continue
        values = look.numbers[name] if name in look.numbers else _by_other_half(look.categories[name], label)
        figure = _telling_binary(values, label) if binary else _telling_number(values, label)
        if figure is not None:
            found[name] = figure
    if found:
        first = next(iter(found))
        listed = ", ".join(f"{name} ({figure})" for name, figure in found.items())
        raise ModelGateError(
            f"{len(found)} of the features tell the label by themselves in {len(label):,} training rows: "
            f"{listed}",
            "features that were known before the label was, which leave something to learn",
            f"look when {first} is written; take it away with '!{first}', or, if it really is known at "
            "as_of_ts, list it under known_label_ok",
        )


def _telling_binary(values: Floats, label: Floats) -> str | None:
    given = ~np.isnan(values)
    for what, scores, labels in (
        ("ROC AUC", values[given], label[given]),
        ("ROC AUC of its gaps", given.astype(np.float64), label),
    ):
        if min((labels == 0).sum(), (labels == 1).sum()) < _FEWEST:
            continue
        area = auc(scores, labels)
        if max(area, 1 - area) >= _KNOWS_AUC:
            return f"{what} {max(area, 1 - area):.4f}"
    return None


def _telling_number(values: Floats, label: Floats) -> str | None:
    given = ~(np.isnan(values) | np.isnan(label))
    if given.sum() < 2 * _FEWEST:
        return None
    plain = abs(correlation(values[given], label[given]))
    by_rank = abs(correlation(ranks(values[given]), ranks(label[given])))
    return f"correlation {max(plain, by_rank):.4f}" if max(plain, by_rank) >= _KNOWS_CORRELATION else None


def auc(scores: Floats, label: Floats) -> float:
    """Return the chance that a row of label 1 scores above one of label 0, ties counting half."""
    places = ranks(scores)
    positives = int((label == 1).sum())
    negatives = len(label) - positives
    return float((places[label == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def ranks(values: Floats) -> Floats:
    """Return the place of each value from 1, equal ones sharing the mean of their places."""
    inverse, counts = np.unique(values, return_inverse=True, return_counts=True)[1:]
    shared: Floats = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return shared


def _by_other_half(texts: Texts, label: Floats) -> Floats:
    """Return for each row the mean label of its category among the rows of the other half."""
    codes = _codes(texts)
    half = np.arange(len(codes)) % 2
    encoded = np.full(len(codes), label.mean() if len(label) else 0.0)
    for mine in (0, 1):
        theirs = half != mine
        rows = np.bincount(codes[theirs], minlength=codes.max(initial=0) + 1)
        sums = np.bincount(codes[theirs], weights=label[theirs], minlength=codes.max(initial=0) + 1)
        known = (half == mine) & (rows[codes] > 0)
        encoded[known] = sums[codes[known]] / rows[codes[known]]
    return encoded


def _halves(look: Look) -> tuple[Look, Look]:
    """Return the earlier and the later half of the rows, cut at the median instant."""
    instants = look.instants
    if instants is None or not len(instants):
        return look, look
    is_early = instants <= np.quantile(instants, 0.5, method="lower")

    def part(rows: npt.NDArray[np.bool_]) -> Look:
        return Look(
            {name: values[rows] for name, values in look.numbers.items()},
            {name: values[rows] for name, values in look.categories.items()},
            None,
            None,
            look.is_complete,
        )

    return part(is_early), part(~is_early)


def _unstable(earlier: Look, later: Look | None, *, threshold: float) -> dict[str, str]:
    if later is None:
        return {}
    reasons = {}
    for name in earlier.names:
        if name in earlier.numbers:
            found = stability_index(earlier.numbers[name], later.numbers[name])
        else:
            found = stability_index(earlier.categories[name], later.categories[name])
        if found > threshold:
            reasons[name] = f"its distribution shifts: stability index {found:.3f} is above {threshold:.6g}"
    return reasons


def _codes(texts: Texts) -> npt.NDArray[np.intp]:
    """Return a number for each distinct text; a missing one has its own."""
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(text, len(seen)) for text in texts], dtype=np.intp)


def _of(label: Floats | None) -> Floats:
    return np.array([]) if label is None else label
