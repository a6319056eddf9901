"""How raw features become what a learner sees: every option that is fitted on training rows."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from featurelib.spec_types import Spec, unsaid

ImputeStrategy = Literal["median", "mean", "mode", "constant"]
Encoding = Literal["one_hot", "ordinal", "target"]
Patterns = Annotated[tuple[str, ...], Field(min_length=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class Imputation(Spec):
    """What stands for a missing number; ``constant`` needs ``value``, the others take none."""

    strategy: ImputeStrategy = "median"
    value: float | None = None

    @model_validator(mode="after")
    def _value_where_constant(self) -> Self:
        if (self.strategy == "constant") != (self.value is not None):
            raise ValueError(
                f"strategy {self.strategy} and value {self.value}: constant, and only it, needs a value"
            )
        return self


class Impute(Imputation):
    """What stands for missing numbers.

    Attributes:
        indicator: whether columns beside them say where values were missing.
        features: other ways for some features, by name or pattern; the first that matches counts.
    """

    indicator: bool = True
    features: dict[str, Imputation] = Field(default_factory=dict)


class Outliers(Spec):
    """How far numbers may lie out; what lies further is moved to the bound, and missing stays missing.

    Attributes:
        method: ``zscore``: mean and standard deviation (n - 1); ``iqr``: quartiles and their distance;
            ``winsorize``: quantiles of the training rows; ``cap``: the bounds themselves.
        bounds: for ``zscore`` and ``iqr`` how often the deviation or distance, one number (3 and 1.5); for
            ``winsorize`` two shares (0.01 and 0.99); for ``cap`` two numbers.
        features: names or patterns over numeric features; ``!`` takes away.
    """

    method: Literal["zscore", "iqr", "winsorize", "cap"]
    bounds: tuple[float, ...] = ()
    features: Patterns = ("*",)

    @model_validator(mode="after")
    def _bounds_of_the_method(self) -> Self:
        wanted = 1 if self.method in {"zscore", "iqr"} else 2
        given = self.bounds
        if (given or self.method == "cap") and len(given) != wanted:
            raise ValueError(f"{self.method} takes {wanted} bounds, got {list(given)}")
        if wanted == 1 and given and given[0] <= 0:
            raise ValueError(f"{self.method} needs a bound above 0, got {given[0]}")
        if len(given) == 2 and given[0] >= given[1]:
            raise ValueError(f"low must be less than high, got {list(given)}")
        if self.method == "winsorize" and given and not 0 <= given[0] < given[1] <= 1:
            raise ValueError(f"winsorize takes shares from 0 to 1, got {list(given)}")
        return self

    @property
    def limits(self) -> tuple[float, ...]:
        """The bounds in force, the method's own where none are given."""
        usual: dict[str, tuple[float, ...]] = {"zscore": (3.0,), "iqr": (1.5,), "winsorize": (0.01, 0.99)}
        return self.bounds or usual[self.method]


class TargetEncoding(Spec):
    """A category becomes the mean label of its training rows, drawn to the mean of all.

    Attributes:
        smoothing: how many rows the mean of all counts for.
        folds: parts of the training time; rows of a part are encoded from earlier parts only.
    """

    smoothing: Annotated[float, Field(ge=0)] = 20.0
    folds: Annotated[int, Field(ge=2, le=50)] = 5


class Encode(Spec):
    """How categories become numbers.

    ``one_hot``: trees read the categories themselves, linear models a column each. ``ordinal``: the place
    in alphabetical order from 0, one number for both; null and unseen ones come last. ``target``: see
    :class:`TargetEncoding`.
    """

    default: Encoding = "one_hot"
    features: dict[str, Encoding] = Field(default_factory=dict)
    target: TargetEncoding = TargetEncoding()


class Polynomial(Spec):
    """Powers and products of these numeric features, from degree 2 up to ``degree``."""

    degree: Annotated[int, Field(ge=2, le=4)] = 2
    features: Patterns


class Pca(Spec):
    """The first ``k`` principal components of the standardized numbers stand for these.

    ``keep: true`` keeps the numbers beside them.
    """

    k: Annotated[int, Field(ge=1)]
    features: Patterns = ("*",)
    keep: bool = False


class Clusters(Spec):
    """The distance of a row to the centre of each of ``k`` clusters of the training rows is added.

    Attributes:
        features: numeric features that rows are alike or unlike in.
        k: how many clusters; for each a number ``cluster_1``, ``cluster_2``, ...
    """

    features: Patterns
    k: Annotated[int, Field(ge=2, le=100)] = 8


class Unstable(Spec):
    """Leave out features whose distribution shifts: the population stability index of ten bins.

    Attributes:
        psi: above it a feature goes.
        between: ``train``: the earlier and the later half of the training time; ``validate``: training and
            validation rows (their features alone, no label).
    """

    psi: Annotated[float, Field(gt=0)] = 0.25
    between: Literal["train", "validate"] = "train"


class Select(Spec):
    """Which features are left out; each comes back in the result with its reason.

    Attributes:
        variance: numbers whose variance is at or below it go.
        correlation: of two numbers whose absolute correlation is above it, the later one goes.
        chi_square: categories whose p-value against the label is above it go; for two classes only.
        top: only so many of the features stay, by the importance a small forest gives them.
        unstable: see :class:`Unstable`.
    """

    variance: Annotated[float, Field(ge=0)] | None = None
    correlation: Annotated[float, Field(gt=0, lt=1)] | None = None
    chi_square: Annotated[float, Field(gt=0, lt=1)] | None = None
    top: Annotated[int, Field(ge=1)] | None = None
    unstable: Unstable | None = None


class Sampling(Spec):
    """Which rows a model is fitted on: a share of the negatives, each weighing 1 / share.

    The weight keeps probabilities what they would be of all rows. Validation and test rows stay whole.
    """

    negatives: Share


class ClassWeights(Spec):
    """What a row of each class weighs."""

    negative: Annotated[float, Field(gt=0)]
    positive: Annotated[float, Field(gt=0)]


class PreparationSpec(Spec):
    """What happens between raw features and the learner; all of it is fitted on training rows.

    The order: outliers, imputation, encoding, selection, interactions and powers, clusters, components,
    scaling.

    Attributes:
        scale: of what linear learners see; trees see numbers as they are.
        interactions: pairs or triples of numeric features that are multiplied.
        class_weights: ``balanced`` weighs both classes alike (rows / (2 * rows of the class)), or a weight
            of label 0 and of label 1; probabilities then are those of the weighted classes.
    """

    impute: Impute = Impute()
    outliers: Outliers | None = None
    scale: Literal["standard", "min_max", "robust", "none"] = "standard"
    encode: Encode = Encode()
    interactions: tuple[Annotated[tuple[str, ...], Field(min_length=2, max_length=3)], ...] = ()
    polynomial: Polynomial | None = None
    pca: Pca | None = None
    clusters: Clusters | None = unsaid(default=None)
    select: Select = Select()
    class_weights: Literal["balanced"] | ClassWeights | None = None
    sampling: Sampling | None = None

    @property
    def is_weighted(self) -> bool:
        """Whether rows weigh differently."""
        return self.class_weights is not None or self.sampling is not None
