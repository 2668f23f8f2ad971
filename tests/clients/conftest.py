"""What takes minutes, or an environment of its own, runs only when it is asked for."""

import pytest

REASONS = {
    "monailabel": "makes an environment of 3 GB; pytest tests/clients -m monailabel",
    "zoo": "takes minutes; pytest tests/clients -m zoo",
}


def pytest_collection_modifyitems(config, items):
    """Skip such tests unless ``-m`` speaks of them."""
    for name, reason in REASONS.items():
        if name in (config.option.markexpr or ""):
            continue
        for item in items:
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))
