"""One value of the header of a series."""

import json
from pathlib import Path

import pytest

from volseg.data.dicom.tags import read_tag
from volseg.errors import DataError


def test_a_value_is_read_from_what_stands_beside_a_volume(tmp_path):
    image = tmp_path / "a.nii.gz"
    assert read_tag(image, "Manufacturer") is None
    content = {"Manufacturer": "A", "ImageType": ["ORIGINAL", "PRIMARY"], "KVP": ""}
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert read_tag(image, "Manufacturer") == "A"
    assert read_tag(image, "ImageType") == "ORIGINAL\\PRIMARY"
    assert read_tag(image, "KVP") is None
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match=r"a\.json cannot be read as JSON"):
        read_tag(image, "Manufacturer")


@pytest.mark.real
def test_a_value_is_read_from_a_series(shared_data):
    series = shared_data / "dicom" / "totalsegmentator_ct_jpeg2000"
    assert read_tag(Path("a.nii.gz"), "SliceThickness", series) == "3"
    assert read_tag(Path("a.nii.gz"), "ConvolutionKernel", series) == "Br38f\\3"
    with pytest.raises(DataError, match="'Nonsense' is no keyword of DICOM"):
        read_tag(Path("a.nii.gz"), "Nonsense", series)
