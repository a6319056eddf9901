"""A driver that attaches to a JVM which runs already, and runs the two-table pipeline until it is killed."""

from __future__ import annotations

import ast
import sys

from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from featurelib.tables import Store
from tests.storage.conftest import two_tables


def attached_session() -> SparkSession:
    """Return a session over the JVM named by ``PYSPARK_GATEWAY_PORT``."""
    gateway = launch_gateway()
    scala_context = gateway.jvm.org.apache.spark.SparkContext.getOrCreate()
    java_context = gateway.jvm.org.apache.spark.api.java.JavaSparkContext.fromSparkContext(scala_context)
    context = SparkContext(gateway=gateway, jsc=java_context, conf=SparkConf(_jconf=java_context.getConf()))
    return SparkSession(context)


if __name__ == "__main__":
    root, run_id, rows = sys.argv[1:]
    two_tables(attached_session(), Store(root), run_id, ast.literal_eval(rows))
