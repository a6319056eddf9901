"""Predictions of registered models over feature rows."""
