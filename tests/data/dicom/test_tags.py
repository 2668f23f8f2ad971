"""One value of the header of a series."""

import json
from pathlib import Path

import pytest

from volseg.data.case import Case
from volseg.data.dicom.tags import read_tag, read_tags
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


def test_cases_that_say_nothing_are_left_out_unless_nobody_speaks(tmp_path):
    cases = [Case(name, (tmp_path / f"{name}.nii.gz",)) for name in "ab"]
    (tmp_path / "b.json").write_text(json.dumps({"Manufacturer": "B"}))
    assert read_tags(cases, "Manufacturer") == {"b": "B"}
    with pytest.raises(DataError, match=r"no value of KVP was found beside the volumes"):
        read_tags(cases, "KVP")
    with pytest.raises(DataError, match=r"no value of KVP was found in the series of"):
        read_tags(cases, "KVP", tmp_path)


@pytest.mark.real
def test_a_value_is_read_from_a_series(shared_data):
    series = shared_data / "dicom" / "totalsegmentator_ct_jpeg2000"
    assert read_tag(Path("a.nii.gz"), "SliceThickness", series) == "3"
    assert read_tag(Path("a.nii.gz"), "ConvolutionKernel", series) == "Br38f\\3"
    with pytest.raises(DataError, match="'Nonsense' is no keyword of DICOM"):
        read_tag(Path("a.nii.gz"), "Nonsense", series)
