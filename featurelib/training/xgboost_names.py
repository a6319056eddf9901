"""What xgboost calls the hyperparameters of its trees; imported by executors too, so it imports nothing."""

from __future__ import annotations

from typing import Final

OF_TREES: Final = {
    "max_depth": "max_depth",
    "learning_rate": "learning_rate",
    "subsample": "subsample",
    "column_sample": "colsample_bytree",
    "min_child_weight": "min_child_weight",
    "reg_lambda": "reg_lambda",
    "gamma": "gamma",
    "max_bin": "max_bin",
}
