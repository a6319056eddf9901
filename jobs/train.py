"""Tune, fit, register and judge the models."""

from featurelib.cli import job

if __name__ == "__main__":
    job("train")
