# Databricks notebook source
# MAGIC %md
# MAGIC # The flights pipeline, table by table
# MAGIC
# MAGIC What the newest published run left behind: rows and their quarantine, delay by hour of the day, everything
# MAGIC that was known about one flight an hour before its departure, and the predictions.
# MAGIC
# MAGIC | parameter | meaning |
# MAGIC |---|---|
# MAGIC | `env` | which settings of `conf/env/` are in force |
# MAGIC | `folder` | the pipeline's folder, from where Python runs; in a Databricks Git folder `../conf/flights` |
# MAGIC | `flight` | a `flight_id` to look at; empty takes the last one that has features |

# COMMAND ----------

dbutils.widgets.dropdown("env", "local", ["local", "cluster", "prod"], "Environment")
dbutils.widgets.text("folder", "conf/flights", "Pipeline folder")
dbutils.widgets.text("flight", "", "Flight")

# COMMAND ----------

# DBTITLE 1,Published tables
from pyspark.sql import functions as F

from featurelib.config import load_project
from featurelib.tables import Store, published, read

project = load_project(dbutils.widgets.get("folder"), env=dbutils.widgets.get("env"))
store = Store(project.settings.root)
versions = published(store)
display(
    spark.createDataFrame(
        [(name, version, read(spark, store, name).count()) for name, version in sorted(versions.items())],
        "table string, version long, rows long",
    )
)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Quarantine
# MAGIC
# MAGIC Rows that are not good stay as they were received, each with every reason. A reason is counted without the
# MAGIC row's own value.

# COMMAND ----------

# DBTITLE 1,Rows in quarantine, by reason
flights_quarantine = read(spark, store, "silver.flights_quarantine")
display(
    flights_quarantine.select(F.explode("_reasons").alias("reason"))
    .groupBy(F.regexp_replace("reason", r"^(\w+): '.*' is ", "$1 is ").alias("reason"))
    .agg(F.count("*").alias("rows"))
    .orderBy(F.desc("rows"), "reason")
)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Delay by hour
# MAGIC
# MAGIC Delays pile up over the day: a late plane makes its following flights late. This is why what happened to
# MAGIC *earlier* flights, as far as it was known, says so much.

# COMMAND ----------

# DBTITLE 1,Flights by hour of scheduled departure (local time)
flights = read(spark, store, "silver.flights")
display(
    flights.where("arr_delay IS NOT NULL")
    .groupBy("hour")
    .agg(
        F.count("*").alias("flights"),
        F.round(F.avg("dep_delay"), 1).alias("mean_dep_delay"),
        F.round(F.avg((F.col("arr_delay") > 15).cast("double")), 3).alias("share_late"),
    )
    .orderBy("hour")
)

# COMMAND ----------

# MAGIC %md
# MAGIC ## One flight, one hour before
# MAGIC
# MAGIC Each feature holds only what had happened and was known strictly before `as_of_ts`.

# COMMAND ----------

# DBTITLE 1,Its features
features = read(spark, store, "features.flights")
wanted = dbutils.widgets.get("flight")
chosen = features.where(F.col("flight_id") == wanted) if wanted else features.orderBy(F.desc("as_of_ts"), "flight_id")
flight = chosen.limit(1).collect()[0]
display(
    spark.createDataFrame(
        [(name, None if value is None else str(value)) for name, value in flight.asDict().items()],
        "column string, value string",
    )
)

# COMMAND ----------

# DBTITLE 1,The newest arrivals at that airport that could be known then, and the first that could not
display(
    flights.where((F.col("origin") == flight["origin"]) & F.col("arrival_known_ts").isNotNull())
    .where(F.col("sched_dep_ts") < F.lit(flight["as_of_ts"]))
    .select(
        "flight_id",
        "sched_dep_ts",
        "arrival_known_ts",
        "arr_delay",
        (F.col("arrival_known_ts") < F.lit(flight["as_of_ts"])).alias("is_visible"),
    )
    .orderBy(F.desc("sched_dep_ts"), "flight_id")
    .limit(20)
)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Predictions
# MAGIC
# MAGIC The flights the champion thought most likely to be late, and what became of them.

# COMMAND ----------

# DBTITLE 1,Most likely late
if "predictions.flights" in versions:
    display(
        read(spark, store, "predictions.flights")
        .join(flights.select("flight_id", "sched_dep_ts", "arr_delay"), on="flight_id", how="left")
        .select("flight_id", "sched_dep_ts", "as_of_ts", "probability", "arr_delay")
        .orderBy(F.desc("probability"), "flight_id")
        .limit(20)
    )
else:
    print("No predictions are published yet: train a model and score first.")

# COMMAND ----------

dbutils.notebook.exit(f"{len(versions)} tables")
