"""The allow-listed SQL expression language: ``language`` checks it, ``on_polars`` evaluates it without Spark.

Nothing is imported here: ``frames``, the part that runs on executors, must not load the parser.
"""
