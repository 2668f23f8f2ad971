"""What takes an environment of its own runs only when it is asked for."""

import pytest


def pytest_collection_modifyitems(config, items):
    """Skip the tests of MONAI Label unless ``-m`` speaks of them."""
    if "monailabel" in (config.option.markexpr or ""):
        return
    skip = pytest.mark.skip(
        reason="makes an environment of 3 GB; pytest tests/clients -m monailabel"
    )
    for item in items:
        if item.get_closest_marker("monailabel"):
            item.add_marker(skip)
