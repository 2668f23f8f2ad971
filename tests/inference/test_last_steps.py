import pytest

from volseg.bundle import Bundle, bundle_names
from volseg.inference.last_steps import left_out


@pytest.mark.parametrize("name", [name for name in bundle_names() if "segmentation" in name])
def test_volseg_leaves_out_nothing_of_its_own_bundles(name):
    assert left_out(Bundle.find(name).raw_config("inference")) == []
