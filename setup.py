"""What pyproject.toml cannot say: the benchmarks, which lie beside the package, are installed inside it."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["kvgpt", "kvgpt.*"]), "kvgpt.benchmarks"],
    package_dir={"kvgpt.benchmarks": "benchmarks"},
)
