"""A pytest plug-in, named with ``-p``: the cases in the reverse of their order, as every second pass has them."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Last to first."""
    items.reverse()
