"""What is asked of a trained model before somebody relies on it: costs, fairness, explanations, words."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from featurelib.spec_types import Name, Spec, unsaid

Share = Annotated[float, Field(gt=0, le=1)]
Explanation = Literal["contributions", "permutation", "partial_dependence"]


class Costs(Spec):
    """What one row costs by its label and by what it is called; gains are negative.

    Attributes:
        true_positive: a positive called positive.
        false_positive: a negative called positive.
        true_negative: a negative called negative.
        false_negative: a positive called negative.
    """

    true_positive: float = 0.0
    false_positive: float = 0.0
    true_negative: float = 0.0
    false_negative: float = 0.0

    @model_validator(mode="after")
    def _wrong_costs_more(self) -> Self:
        for wrong, right in (("false_positive", "true_negative"), ("false_negative", "true_positive")):
            if getattr(self, wrong) <= getattr(self, right):
                raise ValueError(
                    f"{wrong} {getattr(self, wrong)} must cost more than {right} {getattr(self, right)}: "
                    "else one call is always the best, whatever the model says"
                )
        return self


class Fairness(Spec):
    """Groups between which a model's calls are compared.

    Attributes:
        groups: columns of the training set; each of their values is a group.
        min_rows: a group with fewer test rows is counted and not compared.
    """

    groups: Annotated[tuple[Name, ...], Field(min_length=1)]
    min_rows: Annotated[int, Field(ge=1)] = 20


class Mitigation(Spec):
    """What is done about differences between the groups of one column.

    Attributes:
        group: the column.
        reweigh: fit with weights that make group and label independent in the training rows (Kamiran and
            Calders, "Data preprocessing techniques for classification without discrimination", 2012).
        thresholds: call each group by a threshold of its own, taken on validation rows so that all groups
            have about this rate.
    """

    group: Name
    reweigh: bool = False
    thresholds: Literal["selection_rate", "true_positive_rate"] | None = None

    @model_validator(mode="after")
    def _something_is_done(self) -> Self:
        if not self.reweigh and self.thresholds is None:
            raise ValueError("give reweigh: true, or thresholds: selection_rate or true_positive_rate")
        return self


class Ranking(Spec):
    """How well a model puts the rows of a group in order: precision, recall and NDCG at so many rows.

    Attributes:
        by: ``day``, the UTC day of ``as_of_ts``, or a column of the training set.
        at: numbers of rows, those with the highest scores of each group.
    """

    by: Name = "day"
    at: Annotated[tuple[Annotated[int, Field(ge=1, le=10_000)], ...], Field(min_length=1, max_length=10)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.at)) != len(self.at):
            raise ValueError(f"at names a number twice: {', '.join(map(str, self.at))}")
        return self


class Review(Spec):
    """What is measured and said of a model beside its metrics; nothing here changes what is trained.

    Attributes:
        intended_use: what the model is for; the model's description stands in for it.
        out_of_scope: what it must not be used for.
        owner: who answers for it.
        limitations: what is known to be weak.
        fairness: groups to compare.
        explain: ``contributions`` (exact Shapley values for xgboost and linear models, permutation
            importance for others), ``permutation`` and ``partial_dependence``.
        explain_rows: test rows that explanations are computed on, chosen by a hash of their key.
        explain_features: so many features get permutation importance and partial dependence.
        learning_curve: shares of the sampled training rows that the lift learner is fitted on.
        precision_at: shares of the test rows, the highest scoring, whose precision is given.
        ranking: how well it orders the rows of a group, as the flights of a day.
    """

    intended_use: str = ""
    out_of_scope: str = ""
    owner: str = ""
    limitations: str = ""
    fairness: Fairness | None = None
    explain: tuple[Explanation, ...] = ()
    explain_rows: Annotated[int, Field(ge=10, le=20_000)] = 500
    explain_features: Annotated[int, Field(ge=1, le=100)] = 5
    learning_curve: tuple[Share, ...] = ()
    precision_at: tuple[Share, ...] = ()
    ranking: Ranking | None = unsaid(default=None)


class FairnessDemands(Spec):
    """Bounds on the differences between the groups of every column that the review compares.

    Attributes:
        demographic_parity_difference: the greatest difference of selection rates.
        equalized_odds_difference: the greater of the differences of true and of false positive rates.
        disparate_impact: the least ratio of selection rates, as 0.8 (the four-fifths rule).
        calibration_difference: the greatest difference of a group's observed from its predicted share.
    """

    demographic_parity_difference: Annotated[float, Field(ge=0)] | None = None
    equalized_odds_difference: Annotated[float, Field(ge=0)] | None = None
    disparate_impact: Annotated[float, Field(ge=0, le=1)] | None = None
    calibration_difference: Annotated[float, Field(ge=0)] | None = None
