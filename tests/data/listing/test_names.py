"""No two cases become one file, on any disk, and none leaves the output."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.listing.trees import touch
from volseg.data.listing.find import find_scans
from volseg.data.listing.names import distinct_cases
from volseg.data.listing.scan_case import ScanCase
from volseg.data.source import Source
from volseg.errors import DataError


def make_case(name, file):
    return ScanCase(name, {"": Source(name, (Path(file),), "nifti")})


@pytest.mark.parametrize(
    ("first", "second", "hint"),
    [
        ("a.nii.gz", "a.nrrd", ""),
        ("a.nii", "a.nii.gz", ""),
        ("p/Scan.nii", "p/scan.nii", "in capitals only, and not every disk keeps them apart"),
        ("P/scan.nii", "p/scan.nii", "in capitals only"),
        ("Zo\u00eb.nii", "Zoe\u0308.nii", "only in how Unicode composes their letters"),
    ],
)
def test_two_images_that_would_write_one_file_are_both_named(tmp_path, first, second, hint):
    touch(tmp_path, first, second)
    with pytest.raises(DataError) as error:
        find_scans([tmp_path])
    text = str(error.value)
    assert str(tmp_path / first) in text
    assert str(tmp_path / second) in text
    assert "would both be written as" in text
    assert hint in text


def test_equal_names_of_two_inputs_are_refused(tmp_path):
    touch(tmp_path, "one/a.nii.gz", "two/a.nii")
    with pytest.raises(DataError, match=r"one/a\.nii\.gz and .*two/a\.nii would both be written"):
        find_scans([tmp_path / "one", tmp_path / "two/a.nii"])


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1))
def test_a_name_and_its_other_spellings_collide(text):
    name = f"x{text.replace('/', '').replace(chr(92), '')}"
    for other in {name.upper(), unicodedata.normalize("NFD", name)} - {name}:
        if other.casefold() == name.casefold() or other == unicodedata.normalize("NFD", name):
            with pytest.raises(DataError, match="would both be written"):
                distinct_cases([make_case(name, "1.nii"), make_case(other, "2.nii")])


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/a", "", ".", "a\\b", "a\0b"])
def test_a_name_that_leaves_the_output_is_refused(name):
    with pytest.raises(DataError, match=r"1\.nii is named .*, which is no path below the output"):
        distinct_cases([make_case(name, "1.nii")])
