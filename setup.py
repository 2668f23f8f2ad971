"""Build volseg; the bundles at the top of the checkout become ``volseg/bundles`` in the wheel."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["volseg", "volseg.*"]), "volseg.bundles"],
    package_dir={"volseg": "volseg", "volseg.bundles": "bundles"},
    package_data={
        "volseg": ["py.typed"],
        "volseg.inference.gallery": ["assets/*"],
        "volseg.workflows.bundles": ["*.json", "*.md"],
        "volseg.bundles": ["*/**/*", "*/LICENSE"],
    },
    exclude_package_data={"volseg.bundles": ["**/__pycache__/*", "*/models/.cache/*"]},
)
