"""The checks that MONAI's model zoo makes of a bundle, offline, by MONAI's own functions.

``verify_net_in_out`` and the properties that a workflow looks up: `tests.bundles.test_bundles`.
"""

from pathlib import Path

import pytest
from monai.bundle import verify_metadata

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "tests" / "data" / "meta_schema_20240725.json"
MD5 = "06954cad2cc5d3784e72077ac76f0fc8"
"""Of MONAI's own copy, in its ``tests/testing_data/data_config.json``."""

BUNDLES = [path.parents[1] for path in sorted(ROOT.glob("bundles/*/configs/metadata.json"))]

pytestmark = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)


def test_the_metadata_are_what_the_official_schema_wants(bundle):
    verify_metadata(
        meta_file=str(bundle / "configs" / "metadata.json"),
        filepath=str(SCHEMA),
        hash_val=MD5,
        hash_type="md5",
    )


def test_the_zoo_finds_its_files_none_of_them_too_large(bundle):
    for name in ("LICENSE", "configs/metadata.json", "configs/inference.json", "docs/README.md"):
        assert (bundle / name).is_file()
    assert all(path.stat().st_size <= 25 * 2**20 for path in bundle.rglob("*") if path.is_file())
