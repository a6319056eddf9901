"""What a model's review says of the columns it looks at, as far as its spec asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from featurelib.training import explain

if TYPE_CHECKING:
    from featurelib.training.review import Reviewed


def explanation(found: Reviewed) -> dict[str, Any] | None:
    """Return contributions, permutation importance and partial dependence as asked for, None for nothing.

    Contributions are exact of classes by xgboost and linear models; of other learners, and of numbers,
    permutation importance stands in their place.
    """
    spec = found.model.review
    if not spec.explain:
        return None
    is_number = found.model.task == "regression"
    rows = explain.sampled_rows(
        found.training, label=found.label, features=found.features, key=found.key, rows=spec.explain_rows,
        seed=found.seed,
    )  # fmt: skip
    score = explain.scoring(found.pipeline, found.training)
    # An ensemble, a function or ALS has no weights to rank its features by.
    ranked = [name for name, _ in found.importance] or list(found.features)
    top = ranked[: spec.explain_features]
    exact = not is_number and explain.has_contributions(found.pipeline)
    places = found.workshop.preparation.places[found.forms[0]] if found.forms else ()
    sections: dict[str, Any] = {"rows": len(rows), "background": explain.Background(places).to_dict()}
    if "contributions" in spec.explain and exact:
        sections |= _contributions(found, rows, places)
    if "permutation" in spec.explain or ("contributions" in spec.explain and not exact):
        sections["permutation"] = explain.permutation_importance(
            rows, top, score=score, seed=found.seed, quality=explain.nearness if is_number else explain.area
        )
    if "partial_dependence" in spec.explain:
        sections["partial_dependence"] = explain.partial_dependence(
            rows, top, score=score, categorical=(*found.model.categorical, *found.model.identities)
        )
    return sections


def _contributions(found: Reviewed, rows: Any, places: Sequence[str]) -> dict[str, Any]:  # noqa: ANN401 - a table of pyarrow
    background = explain.background_of(found.pipeline, places, found.workshop.sampled())
    raw = found.training.sparkSession.createDataFrame(rows.drop_columns(["_label"]))
    explained = explain.contributions(found.pipeline, raw, background)
    return {
        "contributions": explain.mean_contributions(explained),
        "largest_error": max((row.error for row in explained), default=0.0),
        "background": background.to_dict(),
    }
