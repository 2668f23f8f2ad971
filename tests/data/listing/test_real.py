"""The real folders are understood without a word of help."""

import pytest

from tests.data.listing.trees import listed, names
from volseg.data.listing.find import find_scans
from volseg.data.reading import read_source

pytestmark = pytest.mark.real


def test_the_decathlon_task_is_listed(shared_data):
    found = names(shared_data / "Task04_Hippocampus", ("MRI",))
    assert len(found) == 201
    assert found[:2] == ["imagesTs/hippocampus_118", "imagesTr/hippocampus_001"]
    assert not any("labels" in name for name in found)


def test_the_nnunet_data_sets_are_listed_by_channel(shared_data):
    assert len(names(shared_data / "Dataset901_SarcomaMR", ("T1",))) == 12
    found = listed(shared_data / "Dataset902_GliomaBraTS2013", ("flair", "t1c"))
    assert [(name, reason) for name, _, reason in found] == [
        (f"imagesTr/brats_2013_pat000{patient}_1", None) for patient in (4, 5, 6)
    ]
    assert found[0][1] == {
        "flair": "brats_2013_pat0004_1_0001.nii.gz",
        "t1c": "brats_2013_pat0004_1_0000.nii.gz",
    }


def test_four_sequences_beside_their_segmentations_are_one_case(shared_data):
    folder = shared_data / "brain_mri" / "TCGA-DU-7294"
    assert listed(folder, ("t1", "t1c", "t2", "flair")) == [
        (
            "TCGA-DU-7294",
            {name: f"TCGA-DU-7294_{name}.nii.gz" for name in ("t1", "t1c", "t2", "flair")},
            None,
        )
    ]


def test_dicom_series_are_listed_beside_files(shared_data):
    found = {case.name: case for case in find_scans([shared_data / "dicom"], ("CT",))}
    assert {name: len(case.sources[""].files) for name, case in found.items()} == {
        "totalsegmentator_ct_jpeg2000_seg_total": 1,
        "totalsegmentator_ct_jpeg2000": 20,
        "torchio_head": 17,
        "sts_008_MR_T1/image": 28,
    }
    reading = read_source(found["sts_008_MR_T1/image"].sources[""])
    assert reading.values.shape == (77, 79, 28)


def test_every_hostile_file_is_listed(shared_data):
    found = find_scans([shared_data / "hostile"], ("MRI",))
    listed_files = {path for case in found for path in case.sources[""].files}
    endings = (".nii", ".nii.gz", ".hdr")
    there = {path for path in (shared_data / "hostile").rglob("*") if path.name.endswith(endings)}
    assert listed_files == there
    assert {"15_Zoë Müller – тест №1 (копия)", "13_analyze75"} <= {case.name for case in found}  # noqa: RUF001  as the real file
