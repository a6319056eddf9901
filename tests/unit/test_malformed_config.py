"""Every wrong configuration is refused with file, line, key, what was given and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from featurelib.config import ConfigErrors, load_project
from tests.unit.shop_project import FILES, changed_project, mutated, write_project

PIPELINE, SOURCES, FEATURES = "shop/pipeline.yaml", "shop/sources.yaml", "shop/features.yaml"
MODELS, QUALITY, BASE, LOCAL = "shop/models.yaml", "shop/quality.yaml", "base.yaml", "env/local.yaml"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The valid project, written once; tests change one file of it for a moment."""
    return write_project(tmp_path_factory.mktemp("shop"))


def line_of(name: str, fragment: str) -> int:
    """Return the number of the line the fragment of the valid file stands on."""
    return FILES[name][: FILES[name].index(fragment)].count("\n") + 1


# file, what is replaced, by what, the key path in the message, further fragments of the message
CASES = [
    # keys and types
    pytest.param(PIPELINE, "name: shop", "name: Shop", "name", ["'Shop' is no name"], id="name-with-capital"),
    pytest.param(PIPELINE, "name: shop", "nane: shop", "nane", ["unknown key 'nane'", "'name'"], id="top-key-misspelt"),
    pytest.param(PIPELINE, "  embargo: 1d", "  embargo: 1 day", "split.embargo", ["'1 day'", "15m, 6h or 30d"], id="duration"),
    pytest.param(PIPELINE, "  embargo: 1d", "  embargo: 1", "split.embargo", ["1", "expected: text", 'in quotes: "1"'], id="duration-number"),
    pytest.param(PIPELINE, "  embargo: 1d", "  embrago: 1d", "split.embrago", ["unknown key 'embrago'", "'embargo'"], id="key-misspelt"),
    pytest.param(PIPELINE, '["2024-06-01", "2024-07-01"]', '["2024-06-31", "2024-07-01"]', "split.validate.0", ['"2024-06-31"', "a date"], id="no-such-day"),
    pytest.param(PIPELINE, '["2024-06-01", "2024-07-01"]', '["2024-05-01", "2024-07-01"]', "split", ["must follow each other"], id="split-overlaps"),
    pytest.param(PIPELINE, '["2024-06-01", "2024-07-01"]', '["2024-06-01"]', "split.validate.1", ["missing"], id="split-half"),
    pytest.param(PIPELINE, 'score_from: "2024-07-01"', 'score_from: "2024-02-01"', "score_from", ["within the training days", "2024-06-01 or later"], id="score-in-training"),
    pytest.param(PIPELINE, 'score_from: "2024-07-01"', "score_from: tomorrow", "score_from", ['"tomorrow"', "a date, as 2013-01-31"], id="score-from-word"),
    pytest.param(PIPELINE, "  key: [order_id]", "  key: order_id", "spine.key", ['"order_id"', "a list"], id="list-expected"),
    pytest.param(PIPELINE, "  key: [order_id]", "  key: [oder_id]", "spine.key.0", ["'oder_id' is not among columns", "'order_id'"], id="spine-key-unknown"),
    pytest.param(PIPELINE, "weekday: int}", "weekday: integer}", "spine.column_types.weekday", ["'integer'", "'int'"], id="type-unknown"),
    pytest.param(PIPELINE, ", weekday: int}", "}", "spine.columns.weekday", ["must name the same columns", "'weekday'"], id="type-missing"),
    pytest.param(SOURCES, "every_day: false", "every_day: no", "tables.customers.every_day", ['"no"', "true or false", "without quotes"], id="no-is-text"),
    pytest.param(SOURCES, "every_day: false", "every_day: 0", "tables.customers.every_day", ["0", "true or false"], id="zero-is-no-boolean"),
    pytest.param(SOURCES, "landing: orders", "landing: ../orders", "tables.orders.landing", ["'../orders'", "without .."], id="landing-escapes"),
    pytest.param(SOURCES, "landing: orders", "landing: /etc", "tables.orders.landing", ["'/etc'", "below the landing root"], id="landing-absolute"),
    pytest.param(SOURCES, "      amount: double", "      amount: money", "tables.orders.columns.amount", ["'money'", "double", "decimal(p,s)"], id="column-type-unknown"),
    pytest.param(SOURCES, "      amount: double", "      amount: decimal(39,2)", "tables.orders.columns.amount", ["'decimal(39,2)'", "p digits up to 38"], id="decimal-too-long"),
    pytest.param(SOURCES, "      amount: double", "      amount: decimal(2,3)", "tables.orders.columns.amount", ["'decimal(2,3)'", "behind the point"], id="decimal-scale"),
    pytest.param(SOURCES, "      amount: double", "      Amount: double", "tables.orders.columns.Amount", ["'Amount' is no name"], id="column-name"),
    pytest.param(SOURCES, "    unique: [order_id]", "    unique: [order]", "tables.orders.unique.0", ["unknown column 'order'", "'order_id'"], id="unique-unknown"),
    pytest.param(SOURCES, "    unique: [order_id]", "    unike: [order_id]", "tables.orders.unike", ["unknown key 'unike'", "'unique'"], id="table-key"),
    pytest.param(FEATURES, "ops: [count]", "ops: [counts]", "views.spending.aggregations.2.ops.0", ['"counts"', "'count'"], id="op-unknown"),
    pytest.param(FEATURES, "windows: [7d]", "windows: [7 days]", "views.spending.aggregations.2.windows.0", ["'7 days'"], id="window"),
    pytest.param(FEATURES, "windows: [7d]", "windows: [500ns]", "views.spending.aggregations.2.windows.0", ["'500ns'", "us, ms, s"], id="window-below-a-microsecond"),
    pytest.param(FEATURES, "windows: [7d]", "windows: [-7d]", "views.spending.aggregations.2.windows.0", ["'-7d'", "whole positive number"], id="window-negative"),
    pytest.param(FEATURES, "windows: [7d]", "windows: [0d]", "views.spending.aggregations.2.windows.0", ["'0d'", "whole positive number"], id="window-zero"),
    pytest.param(FEATURES, "windows: [7d]", "windows: [9999999d]", "views.spending.aggregations.2.windows.0", ["'9999999d'", "ten thousand years"], id="window-too-long"),
    pytest.param(FEATURES, "windows: [7d]", "windows: []", "views.spending.aggregations.2.windows", ["a list without items", "at least 1"], id="no-window"),
    pytest.param(FEATURES, "windows: [7d]", "windows: [7d, 7d]", "views.spending.aggregations.2", ["window given twice: 7d"], id="window-twice"),
    pytest.param(FEATURES, "windows: [7d]", "window: [7d]", "views.spending.aggregations.2.window", ["unknown key 'window'", "'windows'"], id="aggregation-key"),
    pytest.param(FEATURES, "{ops: [count]", "{ops: [sum]", "views.spending.aggregations.2.ops.0", ["need an input"], id="sum-of-nothing"),
    pytest.param(FEATURES, "windows: [7d]", "windows: [last 0]", "views.spending.aggregations.2.windows.0", ["'last 0'", "or last 10"], id="window-of-no-rows"),
    pytest.param(FEATURES, "ops: [sum, mean]", "ops: [sum, top_k]", "views.spending.aggregations.0.ops.1", ["'top_k' needs k"], id="k-missing"),
    pytest.param(FEATURES, "ops: [sum, mean]", "k: 3, ops: [sum, mean]", "views.spending.aggregations.0.k", ["'k' is used by", "last_k"], id="k-unused"),
    pytest.param(FEATURES, "ops: [sum, mean]", "ops: [quantile], quantiles: [1.5]", "views.spending.aggregations.0.quantiles.0", ["1.5", "less than or equal to 1"], id="quantile"),
    pytest.param(FEATURES, "ops: [sum, mean]", "ops: [histogram], edges: [2, 1]", "views.spending.aggregations.0", ["'edges' must rise"], id="edges"),
    pytest.param(FEATURES, "ops: [count]", "ops: [count], where: amount > 1", "views.spending.aggregations.2.where", ["'where' needs a name"], id="where-without-name"),
    pytest.param(FEATURES, "ops: [count]", "ops: [count], values: [a]", "views.spending.aggregations.2", ["'values' needs by"], id="values-without-by"),
    pytest.param(FEATURES, "ops: [sum, mean]", "ops: [sum], by: dear, ratio_to: 7d", "views.spending.aggregations.0.ops.0", ["'sum' has no ratio", "maps not"], id="map-of-ratios"),
    pytest.param(FEATURES, "ops: [sum, mean]", "ops: [max], ratio_to: 7d", "views.spending.aggregations.0.ops.0", ["'max' has no ratio"], id="ratio-of-max"),
    pytest.param(FEATURES, "ops: [sum, mean]", "ops: [sum], ratio_to: 1d", "views.spending.aggregations.0.ratio_to", ["'1d' divided by itself"], id="ratio-to-itself"),
    pytest.param(FEATURES, "    source: customers", "    source: customers\n    delay: 500d", "views.facts.latest.max_age", ["'400d' is not longer than the delay"], id="age-within-delay"),
    pytest.param(FEATURES, "    source: customers", "    source: customers\n    boundary: closed", "views.facts.boundary", ['"closed"', "'inclusive'"], id="boundary"),
    pytest.param(FEATURES, "max_age: 400d", "max_age: lifetime", "views.facts.latest.max_age", ["'lifetime'"], id="age-lifetime"),
    pytest.param(FEATURES, "    latest: {inputs: [joined_year], max_age: 400d}", "    owner: crm", "views.facts", ["computes nothing"], id="empty-view"),
    pytest.param(MODELS, "      trials: 4", "      trials: 0", "models.returns.tuning.trials", ["0", "greater than or equal to 1"], id="bound"),
    pytest.param(MODELS, "      trials: 4", '      trials: "4"', "models.returns.tuning.trials", ['"4"', "a whole number", "without quotes"], id="number-in-quotes"),
    pytest.param(MODELS, "      trials: 4", "      trials: 4.5", "models.returns.tuning.trials", ["4.5", "a whole number"], id="no-whole-number"),
    pytest.param(MODELS, "      trials: 4", "      trials: true", "models.returns.tuning.trials", ["true", "a whole number"], id="boolean-is-no-number"),
    pytest.param(MODELS, "      trials: 4", "      budget: 2.5", "models.returns.tuning.budget", ["a budget of 2.5", "cost.per_hour"], id="budget-without-price"),
    pytest.param(MODELS, "      trials: 4", "      algorithm: tpa", "models.returns.tuning.algorithm", ['"tpa"', "'tpe'"], id="algorithm-unknown"),
    pytest.param(MODELS, "      trials: 4", "      rungs: [0.5, 0.1]", "models.returns.tuning", ["rungs must rise"], id="rungs-fall"),
    pytest.param(MODELS, "      trials: 4", "      folds: {kind: expanding, embargo: 1 day}", "models.returns.tuning.folds.embargo", ["'1 day'"], id="folds-embargo"),
    pytest.param(MODELS, "{integer: [3, 8]}\n    tuning:\n", "{integer: [3, 8]}\n        refit: {trees: 40}\n    tuning:\n      algorithm: anneal\n      backend: optuna\n", "models.returns.tuning", ["optuna has no algorithm anneal"], id="backend-lacks-algorithm"),
    pytest.param(MODELS, "      minimum: 0.6", "      maximum: 0.6", "models.returns.gate.maximum", ["unknown key 'maximum'", "'minimum'"], id="gate-key"),
    pytest.param(MODELS, "      mode: enabled", "      mode: on", "models.returns.gate.mode", ['"on"', "'dry_run'"], id="on-is-text"),
    pytest.param(MODELS, "kind: random_forest", "kind: random_forrest", "models.returns.estimators.forest.kind", ["'random_forest'"], id="estimator-unknown"),
    pytest.param(MODELS, "{trees: 20}", "{tres: 20}", "models.returns.estimators.forest.parameters.tres", ["no parameter 'tres'", "'trees'"], id="parameter"),
    pytest.param(MODELS, "{trees: 20}", "{learning_rate: 0.1}", "models.returns.estimators.forest.parameters.learning_rate", ["random_forest has no parameter"], id="other-learners-parameter"),
    pytest.param(MODELS, "{trees: 20}", "{trees: [20]}", "models.returns.estimators.forest.parameters.trees", ["a list of 1", "a number or a whole number"], id="parameter-list"),
    pytest.param(MODELS, "{trees: 20}", "{max_depth: 3}", "models.returns.estimators.forest", ["both fixed and tuned: max_depth"], id="fixed-and-tuned"),
    pytest.param(MODELS, "{integer: [3, 8]}", "{integer: [8, 3]}", "models.returns.estimators.forest.space.max_depth", ["low must be less than high"], id="space-order"),
    pytest.param(MODELS, "{integer: [3, 8]}", "{between: [3, 8]}", "models.returns.estimators.forest.space.max_depth.between", ["unknown key 'between'"], id="space-form"),
    pytest.param(QUALITY, "max_quarantined: 0.1", "max_quarantined: 10", "gates.orders.max_quarantined", ["10", "less than or equal to 1"], id="share"),
    pytest.param(QUALITY, "on_fail: warn", "on_fail: ignore", "rules.orders.1.on_fail", ['"ignore"', "'quarantine'"], id="on-fail"),
    pytest.param(BASE, "shuffle_partitions: 8", "shuffle_partitions: eight", "spark.shuffle_partitions", ['"eight"', "a whole number"], id="settings-type"),
    pytest.param(BASE, "  conf: {}", "  conf: {spark.speculation: true}", "spark.conf.spark.speculation", ["true", "expected: text", 'in quotes: "true"'], id="spark-conf-boolean"),
    pytest.param(BASE, "  conf: {}", "  conf: {spark.sql.session.timeZone: Europe/Berlin}", "spark.conf.spark.sql.session.timeZone", ["'Europe/Berlin'", "in UTC everywhere"], id="session-not-utc"),
    pytest.param(LOCAL, "  master: local[*]", "  mastr: local[*]", "spark.mastr", ["unknown key 'mastr'", "'master'"], id="env-key"),
    # unknown names across files
    pytest.param(PIPELINE, "  table: orders", "  table: order", "spine.table", ["unknown table 'order'", "'orders'"], id="spine-table"),
    pytest.param(SOURCES, "    table: customers", "    table: custmers", "sources.customers.table", ["unknown table 'custmers'", "'customers'"], id="source-table"),
    pytest.param(FEATURES, "    source: orders", "    source: order", "views.spending.source", ["unknown source 'order'", "'orders'"], id="view-source"),
    pytest.param(FEATURES, "  spending:\n    entity: customer", "  spending:\n    entity: costumer", "views.spending.entity", ["unknown entity 'costumer'", "'customer'"], id="view-entity"),
    pytest.param(FEATURES, "  facts:\n    entity: customer\n", "  facts:\n", "views.facts.entity", ["no entity", "entity: NAME"], id="no-entity"),
    pytest.param(FEATURES, "    source: customers", "    source: customers\n    entity_key: [customer]", "views.facts.entity_key", ["unknown key 'entity_key'", "entity: NAME"], id="entity-key-by-hand"),
    pytest.param(QUALITY, "rules:\n  orders:", "rules:\n  oders:", "rules.oders", ["unknown table 'oders'", "'orders'"], id="rules-table"),
    pytest.param(QUALITY, "gates:\n  orders:", "gates:\n  oders:", "gates.oders", ["unknown table 'oders'", "'orders'"], id="gates-table"),
    pytest.param(QUALITY, "name: has_items", "name: priced", "rules.orders.1.name", ["rule 'priced' is given twice"], id="rule-twice"),
    # expressions
    pytest.param(PIPELINE, "  as_of_ts: ordered_ts", "  as_of_ts: orderd_ts", "spine.as_of_ts", ["unknown column 'orderd_ts' at character 1", "'ordered_ts'"], id="as-of-column"),
    pytest.param(PIPELINE, "  as_of_ts: ordered_ts", "  as_of_ts: amount", "spine.as_of_ts", ["'amount' is a double", "timestamp_utc"], id="as-of-type"),
    pytest.param(PIPELINE, "dayofweek(day)", "day_of_week(day)", "spine.columns.weekday", ["function 'day_of_week' at character 1", "'dayofweek'"], id="spine-function"),
    pytest.param(PIPELINE, "dayofweek(day)", "current_date", "spine.columns.weekday", ["no clock"], id="spine-clock"),
    pytest.param(PIPELINE, "returned_items > 0", "returned_itms > 0", "label.value", ["unknown column 'returned_itms'", "'returned_items'"], id="label-column"),
    pytest.param(PIPELINE, "  known_ts: settled_ts", "  known_ts: day", "label.known_ts", ["'day' is a date", "timestamp_utc"], id="label-known-type"),
    pytest.param(PIPELINE, "  name: returned", "  name: weekday", "label.name", ["'weekday' is a column of the spine"], id="label-name-taken"),
    pytest.param(PIPELINE, "    weekday: dayofweek(day)\n  column_types: {", "    weekday: dayofweek(day)\n    as_of_ts: ordered_ts\n  column_types: {as_of_ts: timestamp_utc, ", "spine.columns.as_of_ts", ["the moment itself"], id="as-of-taken"),
    pytest.param(SOURCES, "per_item: amount / items", "per_item: amount / itms", "tables.orders.derived.per_item", ["unknown column 'itms'", "'items'"], id="derived-column"),
    pytest.param(SOURCES, "per_item: amount / items", "per_item: IF(dear, 1, 2)", "tables.orders.derived.per_item", ["cyclic definition: per_item -> dear -> per_item"], id="derived-circle"),
    pytest.param(SOURCES, "per_item: amount / items", "per_item: per_item + 1", "tables.orders.derived.per_item", ["cyclic definition: per_item -> per_item"], id="derived-from-itself"),
    pytest.param(SOURCES, "      per_item: amount / items\n      dear: per_item > 100", "      dear: per_item > 100\n      per_item: amount / items", "tables.orders.derived.dear", ["derived after it", "move 'per_item' above 'dear'"], id="derived-order"),
    pytest.param(SOURCES, "amount IS NOT NULL", "amount IS NOT", "sources.orders.where", ["no valid expression"], id="where-syntax"),
    pytest.param(SOURCES, "    event_ts: ordered_ts", "    event_ts: order_id", "sources.orders.event_ts", ["'order_id' is a string"], id="event-type"),
    pytest.param(SOURCES, "    known_ts: settled_ts", "    known_ts: now()", "sources.orders.known_ts", ["function 'now'", "no clock"], id="known-now"),
    pytest.param(SOURCES, "CASE WHEN amount > 50", "CASE WHEN sum(amount) > 50", "sources.orders.columns.big", ["function 'sum'", "aggregation of a feature view"], id="column-aggregate"),
    pytest.param(SOURCES, "    tie_breaker: [order_id]", "    tie_breaker: [orderid]", "sources.orders.tie_breaker.0", ["no column 'orderid'", "'order_id'"], id="tie-breaker"),
    pytest.param(SOURCES, '{big: "CASE WHEN amount > 50 THEN 1 ELSE 0 END"}\n    column_types: {big: int}', '{amount: "amount + 1"}\n    column_types: {amount: double}', "sources.orders.columns.amount", ["already a column of orders"], id="column-shadows"),
    pytest.param(SOURCES, "FROM customers WHERE", "FROM orders WHERE", "sources.customers.sql", ["'orders' at character", "FROM customers"], id="sql-other-table"),
    pytest.param(SOURCES, "joined AS joined_year", "joind AS joined_year", "sources.customers.sql", ["unknown column 'joind'", "'joined'"], id="sql-column"),
    pytest.param(SOURCES, "FROM customers WHERE joined > 1990", "FROM customers JOIN orders", "sources.customers.sql", ["'JOIN' at character"], id="sql-join"),
    pytest.param(SOURCES, "    event_ts: changed_ts", "    event_ts: changed_ts\n    where: joined > 1", "sources.customers", ["sql stands alone"], id="sql-and-where"),
    pytest.param(SOURCES, "city, changed_ts FROM", "city FROM", "sources.customers.event_ts", ["unknown column 'changed_ts'"], id="sql-without-event"),
    pytest.param(SOURCES, "    event_ts: changed_ts", "    event_ts: changed_ts\n    column_types: {town: string}", "sources.customers.column_types.town", ["no column of the SELECT"], id="sql-type-unknown"),
    pytest.param(QUALITY, "check: amount >= 0", "check: amout >= 0", "rules.orders.0.check", ["unknown column 'amout'", "'amount'"], id="rule-column"),
    pytest.param(QUALITY, "check: amount >= 0", "check: \"reflect('java.lang.System', 'exit')\"", "rules.orders.0.check", ["function 'reflect'", "Java"], id="rule-reflect"),
    # transforms
    pytest.param(SOURCES, "prepare:with_day", "prepare:with_dy", "tables.orders.transform", ["no function 'with_dy'", "'with_day'"], id="transform-function"),
    pytest.param(SOURCES, "prepare:with_day", "prepaer:with_day", "tables.orders.transform", ["no file conf/shop/prepaer.py", "'prepare'"], id="transform-module"),
    pytest.param(SOURCES, "prepare:with_day", "os.path:join", "tables.orders.transform", ["'os.path:join'", "module:function"], id="transform-elsewhere"),
    pytest.param(SOURCES, "    transform: prepare:with_day\n", "", "tables.orders.transform_adds", ["transform_adds without transform"], id="adds-without-transform"),
    # views against sources and spine
    pytest.param(FEATURES, "{input: amount,", "{input: amonut,", "views.spending.aggregations.0.input", ["no column 'amonut'", "'amount'"], id="input-unknown"),
    pytest.param(FEATURES, "{input: amount,", "{input: order_id,", "views.spending.aggregations.0.input", ["sum of 'order_id', which is a string", "a number"], id="sum-of-text"),
    pytest.param(FEATURES, "{input: amount, ops: [sum, mean]", "{input: dear, ops: [max]", "views.spending.aggregations.0.input", ["max of 'dear', which is a boolean"], id="max-of-boolean"),
    pytest.param(FEATURES, "ops: [count]", "ops: [count], name: big, where: amonut > 1", "views.spending.aggregations.2.where", ["unknown column 'amonut'", "'amount'"], id="where-unknown"),
    pytest.param(FEATURES, "ops: [count]", "ops: [count], by: amount", "views.spending.aggregations.2.by", ["by of 'amount', which is a double", "a text, whole number"], id="by-double"),
    pytest.param(FEATURES, "ops: [count]", "ops: [count], by: aisle", "views.spending.aggregations.2.by", ["no column 'aisle'"], id="by-unknown"),
    pytest.param(FEATURES, "inputs: [joined_year]", "inputs: [joined]", "views.facts.latest.inputs.0", ["no column 'joined'", "'joined_year'"], id="latest-unknown"),
    pytest.param(SOURCES, "{keys: [customer]}", "{keys: [customer, shop]}", "views.spending.entity", ["no column 'shop'"], id="key-not-in-source"),
    pytest.param(PIPELINE, "customer: string, weekday", "customer: long, weekday", "views.spending.entity", ["'customer' is a string in source orders and a long in the spine"], id="key-types"),
    pytest.param(SOURCES, "{keys: [customer]}", "{keys: [amount]}", "views.spending.entity", ["no column 'amount'"], id="key-not-in-spine"),
    pytest.param(PIPELINE, "  name: returned", "  name: facts__joined_year_latest", "views.facts", ["'facts__joined_year_latest' is also a column of the label"], id="feature-is-label"),
    # models
    pytest.param(MODELS, '"facts__*"]', '"fact__*"]', "models.returns.features.3", ["'fact__*' matches no", "Did you mean 'facts__*'?"], id="pattern"),
    pytest.param(MODELS, '"facts__*"]', '"!spendings__*"]', "models.returns.features.3", ["'spendings__*' matches no"], id="negative-pattern"),
    pytest.param(MODELS, "features: [weekday, customer]}", "features: [weekdy]}", "models.returns.baseline.features.0", ["'weekdy' matches no", "'weekday'"], id="baseline-pattern"),
    pytest.param(MODELS, 'features: ["*"]', 'features: ["!*"]', "models.returns.lift.0.features", ["no feature is left"], id="nothing-left"),
    pytest.param(MODELS, "categorical: [customer]", "categorical: [customers]", "models.returns.categorical.0", ["none of the model's features", "'customer'"], id="categorical"),
    pytest.param(MODELS, "    categorical: [customer]\n", "", "models.returns.features", ["feature 'customer' is a string", "add customer to categorical"], id="text-feature"),
    pytest.param(FEATURES, "ops: [count]", "ops: [count], by: customer", "models.returns.features", ["'spending__count_7d_by_customer' is a map", "numbers and categories"], id="map-feature"),
    pytest.param(MODELS, "    categorical: [customer]\n", "    categorical: [customer]\n    segments: {by: [custmer]}\n", "models.returns.segments.by.0", ["'custmer' is no spine column or feature", "'customer'"], id="segments-unknown"),
    pytest.param(MODELS, "    categorical: [customer]\n", "    categorical: [customer]\n    review: {ranking: {by: custmer, at: [5]}}\n", "models.returns.review.ranking.by", ["'custmer' is no spine column or feature", "'customer'"], id="ranking-unknown"),
    pytest.param(MODELS, "    categorical: [customer]\n", "    categorical: [customer]\n    review: {ranking: {at: [5, 5]}}\n", "models.returns.review.ranking", ["at names a number twice: 5, 5"], id="ranking-twice"),
    pytest.param(MODELS, "    categorical: [customer]\n", "    categorical: [customer]\n    segments: {by: [spending__amount_mean_1d]}\n", "models.returns.segments.by.0", ["is a double", "text, whole number"], id="segments-double"),
    # references and secrets
    pytest.param(BASE, "landing: ${root}/landing", "landing: ${rot}/landing", "landing", ["unknown reference ${rot}", "'root'"], id="reference"),
    pytest.param(BASE, "landing: ${root}/landing", "landing: ${landing}/x", "landing", ["refers to itself: landing -> landing"], id="reference-to-itself"),
    pytest.param(BASE, "root: var/${env}", "root: ${landing}", "landing", ["refers to itself: root -> landing -> root"], id="reference-circle"),
    pytest.param(BASE, "landing: ${root}/landing", "landing: ${spark}", "landing", ["a mapping or list"], id="reference-to-mapping"),
    pytest.param(BASE, "landing: ${root}/landing", "landing: ${root/landing", "landing", ["without its }"], id="reference-open"),
    pytest.param(BASE, "landing: ${root}/landing", "landing: ${env:LANDING}", "landing", ["LANDING is not set", "export LANDING=..."], id="variable-unset"),
    pytest.param(BASE, "landing: ${root}/landing", "landing: ${env:LAND ING}", "landing", ["${env:NAME:-default}"], id="variable-name"),
    pytest.param(BASE, "landing: ${root}/landing", "landing: a/${secret:env/LANDING}", "landing", ["alone in its value"], id="secret-in-text"),
    pytest.param(BASE, "landing: ${root}/landing", "landing: ${secret:vault/x}", "landing", ["${secret:env/NAME}"], id="secret-store"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "key", "fragments"), CASES)
def test_fault_is_named_with_its_place(
    shop: Path, file: str, old: str, new: str, key: str, fragments: list[str]
) -> None:
    """One wrong line gives a message with a file and line, the key path, and what would be right."""
    with changed_project(shop, mutated(file, old, new)) as folder, pytest.raises(ConfigErrors) as caught:
        load_project(folder, environ={})
    problems = [problem for problem in caught.value.problems if problem.path == key]
    assert len(problems) == 1, str(caught.value)
    text = str(problems[0])
    assert text.startswith("conf/"), text
    assert f": {key}\n" in text
    for fragment in fragments:
        assert fragment in text
    assert caught.value.exit_code == 2


def test_an_entity_is_not_told_by_a_double(shop: Path) -> None:
    """0.1 + 0.2 is not 0.3: a key is a text, a whole number, a decimal, a date or an instant."""
    changed = {
        PIPELINE: FILES[PIPELINE].replace("customer: string", "customer: double"),
        SOURCES: FILES[SOURCES].replace("      customer: string", "      customer: double"),
    }
    with changed_project(shop, changed) as folder, pytest.raises(ConfigErrors) as caught:
        load_project(folder, environ={})
    said = [problem.given for problem in caught.value.problems if problem.path == "views.spending.entity"]
    assert said == ["key 'customer' is a double"]


@pytest.mark.parametrize(
    ("user", "given", "expected"),
    [
        ("custmer", "'custmer' is no spine column or feature. Did you mean 'customer'?", "a spine column"),
        ("spending__amount_mean_1d", "'spending__amount_mean_1d' is a double", "a text or a whole number"),
        ("returned", "'returned' is no spine column or feature", "a spine column"),
        ("order_id", None, None),
    ],
)
def test_users_are_columns_of_the_training_set(
    shop: Path, user: str, given: str | None, expected: str | None
) -> None:
    """A name that nothing has, a number with a fraction and the label are no users; a column of the key may be one."""
    changes = {
        "  returns:\n": "  returns:\n    task: regression\n",
        "      forest:\n": f"      taste: {{kind: als, user: {user}, item: weekday}}\n      forest:\n",
        "trials: 4": "metric: rmse",
        "mode: enabled": "metric: r2",
    }
    text = FILES[MODELS]
    for old, new in changes.items():
        text = text.replace(old, new)
    with changed_project(shop, {MODELS: text}) as folder:
        if given is None:
            load_project(folder, environ={})
            return
        with pytest.raises(ConfigErrors) as caught:
            load_project(folder, environ={})
    (problem,) = caught.value.problems
    assert problem.path == "models.returns.estimators.taste.user"
    assert problem.given.startswith(given)
    assert problem.expected.startswith(expected)


PLACES = [
    (PIPELINE, "  as_of_ts: ordered_ts", "  as_of_ts: orderd_ts"),
    (SOURCES, "      dear: per_item > 100", "      dear: per_itm > 100"),
    (FEATURES, "{input: amount,", "{input: amonut,"),
    (MODELS, "      trials: 4", "      trials: four"),
    (QUALITY, "check: amount >= 0", "check: amout >= 0"),
    (BASE, "shuffle_partitions: 8", "shuffle_partitions: 0"),
    (LOCAL, "  master: local[*]", "  mastr: local[*]"),
]


@pytest.mark.parametrize(("file", "old", "new"), PLACES)
def test_fault_is_at_the_line_of_its_value(shop: Path, file: str, old: str, new: str) -> None:
    """The line named is the one that was changed, in each of the files."""
    with changed_project(shop, mutated(file, old, new)) as folder, pytest.raises(ConfigErrors) as caught:
        load_project(folder, environ={})
    assert [problem.origin for problem in caught.value.problems] == [f"conf/{file}:{line_of(file, old)}"]


YAML_ATTACKS = [
    pytest.param("a: &x [1]\nb: *x\n", ["anchor &x", "alias *x"], id="alias"),
    pytest.param("a: &a [x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n", ["alias *a", "alias *c"], id="laughs"),
    pytest.param("base: &b {x: 1}\nd: {<<: *b}\n", ["a merge key <<"], id="merge-key"),
    pytest.param("a: !!python/object/apply:os.system [id]\n", ["tag tag:yaml.org,2002:python"], id="python-tag"),
    pytest.param("a: !!binary aGk=\n", ["tag tag:yaml.org,2002:binary"], id="binary-tag"),
    pytest.param("a: !env HOME\n", ["tag !env"], id="local-tag"),
    pytest.param("a: !!str 5\n", ["tag tag:yaml.org,2002:str"], id="plain-tag"),
    pytest.param("root: a\nroot: b\n", ["local.yaml:2: root", "key 'root' is given twice", "once; first at conf/env/local.yaml:1"], id="twice"),
    pytest.param("spark:\n  master: a\n  master: b\n", ["spark.master", "local.yaml:3"], id="twice-nested"),
    pytest.param("1: a\n", ["key 1 is no text", "put it in quotes"], id="number-key"),
    pytest.param("true: a\n", ["key true is no text"], id="boolean-key"),
    pytest.param("? [a, b]\n: c\n", ["key that is itself a mapping or list"], id="list-key"),
    pytest.param("root: a\n---\nroot: b\n", ["a second document"], id="two-documents"),
    pytest.param("- a\n- b\n", ["the file is no mapping"], id="list-file"),
    pytest.param("just text\n", ["the file is no mapping"], id="text-file"),
    pytest.param("root: [a\n", ["no valid YAML"], id="unclosed"),
    pytest.param("root:\n\t- a\n", ["local.yaml:2", "no valid YAML"], id="tab"),
    pytest.param("root: a\x00b\n", ["no valid YAML"], id="nul"),
    pytest.param("a: " + "[" * 60 + "]" * 60, ["levels of nesting"], id="deep"),
    pytest.param("x: " + "y" * 1_000_001, ["more than 1 MB"], id="large"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "fragments"), YAML_ATTACKS)
def test_yaml_with_two_readings_is_refused(shop: Path, text: str, fragments: list[str]) -> None:
    """Aliases, tags, merge keys, duplicate and non-text keys are refused, whatever YAML would make of them."""
    with changed_project(shop, {"env/local.yaml": text}) as folder, pytest.raises(ConfigErrors) as caught:
        load_project(folder, environ={})
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_file_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are named with the file."""
    folder = write_project(tmp_path)
    (tmp_path / "conf/base.yaml").write_bytes(b"root: \xff\n")
    with pytest.raises(ConfigErrors, match=r"conf/base.yaml\n.*no UTF-8"):
        load_project(folder, environ={})


def test_references_cannot_grow_without_bound(tmp_path: Path) -> None:
    """Ten levels of a reference repeated ten times end at the length limit, not in memory."""
    levels = "\n".join(f"  l{n}: {f'${{spark.l{n - 1}}}' * 10}" for n in range(1, 12))
    folder = write_project(tmp_path, {"env/local.yaml": f"spark:\n  l0: xxxxxxxxxx\n{levels}\n"})
    with pytest.raises(ConfigErrors, match="at most 10000"):
        load_project(folder, environ={})


SECRETS = [
    ("tracking:\n  password: hunter2\n", "tracking.password"),
    (
        "spark:\n  conf: {spark.hadoop.fs.s3a.secret.key: hunter2}\n",
        "spark.conf.spark.hadoop.fs.s3a.secret.key",
    ),
    (
        "spark:\n  conf: {spark.hadoop.fs.s3a.access.key: hunter2}\n",
        "spark.conf.spark.hadoop.fs.s3a.access.key",
    ),
    ("spark:\n  conf: {spark.ssl.keyPassword: hunter2}\n", "spark.conf.spark.ssl.keyPassword"),
    ("secrets:\n  anything: hunter2\n", "secrets.anything"),
    ("secrets:\n  pin: 2718\n", "secrets.pin"),
    ("api_key: hunter2\n", "api_key"),
    ("tracking:\n  tracking_uri: https://me:hunter2@mlflow.example\n", "tracking.tracking_uri"),
    ("tracking:\n  experiment: ghp_hunter2hunter2hunter2hunter2\n", "tracking.experiment"),
    ("secrets:\n  token: ${env:TOKEN}\n", "secrets.token"),
    ("tracking:\n  tracking_uri: ${env:URI}\n", "tracking.tracking_uri"),
]


@pytest.mark.parametrize(("text", "key"), SECRETS)
def test_literal_secret_is_refused_and_never_printed(shop: Path, text: str, key: str) -> None:
    """A secret written out, or fetched into the tree, is refused without being repeated in the message."""
    environ = {"TOKEN": "hunter2", "URI": "https://me:hunter2@mlflow.example"}
    with (
        changed_project(shop, {"env/local.yaml": text}) as folder,
        pytest.raises(ConfigErrors, match="give it by reference") as caught,
    ):
        load_project(folder, environ=environ)
    assert key in [problem.path for problem in caught.value.problems]
    assert "hunter2" not in str(caught.value)
    assert "2718" not in str(caught.value)


def test_all_faults_are_reported_together(tmp_path: Path) -> None:
    """Faults in five files come in one error, each with its place."""
    changed: dict[str, str] = {}
    for file, old, new in PLACES[:5]:
        changed |= mutated(file, old, new)
    with pytest.raises(ConfigErrors, match="5 problems in the configuration") as caught:
        load_project(write_project(tmp_path, changed), environ={})
    assert {problem.origin.split(":")[0] for problem in caught.value.problems} == {
        f"conf/{file}" for file, _, _ in PLACES[:5]
    }


def test_key_in_two_files_of_the_pipeline_is_refused(tmp_path: Path) -> None:
    """The pipeline's files are one layer: none silently wins over another."""
    folder = write_project(tmp_path, {QUALITY: FILES[QUALITY] + "name: other\n"})
    with pytest.raises(ConfigErrors, match=r"'name' is given twice\n.*first at conf/shop/pipeline.yaml:1"):
        load_project(folder, environ={})


def test_misspelt_file_is_refused(tmp_path: Path) -> None:
    """A YAML file that would never be read is an error, not a surprise."""
    folder = write_project(tmp_path)
    (folder / "quality.yaml").rename(folder / "qualty.yaml")
    with pytest.raises(
        ConfigErrors, match=r"qualty.yaml is no file of a pipeline. Did you mean 'quality.yaml'"
    ):
        load_project(folder, environ={})


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A part that is nowhere given is reported with the file it belongs into."""
    folder = write_project(tmp_path)
    (folder / "models.yaml").unlink()
    with pytest.raises(ConfigErrors, match=r"conf/shop/models.yaml: models\n  missing"):
        load_project(folder, environ={})


def test_unknown_environment_is_named(tmp_path: Path) -> None:
    """An environment without a file is refused with the nearest one."""
    with pytest.raises(ConfigErrors, match=r"unknown environment 'prd'. Did you mean 'prod'\?"):
        load_project(write_project(tmp_path), env="prd", environ={})


def test_environment_cannot_leave_its_folder(tmp_path: Path) -> None:
    """An environment is the name of a file, not a path to one."""
    with pytest.raises(ConfigErrors, match="unknown environment"):
        load_project(write_project(tmp_path), env="../shop/pipeline", environ={})


def test_unknown_folder_is_named(tmp_path: Path) -> None:
    """A folder that is no pipeline is refused with those that are."""
    folder = write_project(tmp_path)
    with pytest.raises(ConfigErrors, match=r"no pipeline.yaml in .*Did you mean '.*shop'"):
        load_project(folder.parent / "shp", environ={})


OVERRIDES = [
    ("spark.driver_memory", "'spark.driver_memory' is no key=value"),
    ("=8g", "is no key=value"),
    ("spark..x=1", "is no key=value"),
    ("spark.driver_memry=8g", "-c: spark.driver_memry\n  unknown key"),
    ("spark.shuffle_partitions=many", '-c: spark.shuffle_partitions\n  "many"'),
    ("spine.key.7=x", "item '7' of a list of 1"),
    ("root=[", "no valid YAML"),
    ("root=*x", "-c: alias \\*x|-c\n  no valid YAML|alias"),
    ("secrets.token=hunter2", "-c: secrets.token\n  a secret written out"),
]


@pytest.mark.parametrize(("override", "message"), OVERRIDES)
def test_wrong_override_is_named(shop: Path, override: str, message: str) -> None:
    """A fault on the command line is placed there, not in a file."""
    with pytest.raises(ConfigErrors, match=message) as caught:
        load_project(shop, overrides=[override], environ={})
    assert "hunter2" not in str(caught.value)


VARIABLES = [
    (
        {"FEATURELIB__SPARK__DRIVER_MEMRY": "8g"},
        "environment FEATURELIB__SPARK__DRIVER_MEMRY: spark.driver_memry",
    ),
    ({"FEATURELIB__SPARK__SHUFFLE_PARTITIONS": "8g"}, '"8g"\n  expected: a whole number'),
    ({"FEATURELIB____ROOT": "x"}, "an empty part between __"),
    ({"FEATURELIB__SPINE__KEY": "[a]"}, "use -c for lists"),
    ({"FEATURELIB__SECRETS__TOKEN": "hunter2"}, "a secret written out"),
]


@pytest.mark.parametrize(("environ", "message"), VARIABLES)
def test_wrong_variable_is_named(shop: Path, environ: dict[str, str], message: str) -> None:
    """A fault in the environment is placed at its variable."""
    with pytest.raises(ConfigErrors, match=message) as caught:
        load_project(shop, environ=environ)
    assert "hunter2" not in str(caught.value)
