"""The benchmarks, a family a file; a wheel has them as ``kvgpt.benchmarks``: ``pytest --pyargs kvgpt.benchmarks``."""
