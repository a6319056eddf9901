"""Models under version, alias and lock: the only floor that knows MLflow."""
