"""Side-by-side measurements that a user can run: ``python -m benchmarks.latest --help``."""
