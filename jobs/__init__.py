"""Entry points for spark-submit: arguments, one library call, an exit code."""
