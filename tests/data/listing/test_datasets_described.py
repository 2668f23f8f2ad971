"""Data sets of the Decathlon and of nnU-Net are listed as their dataset.json says."""

import pytest

from tests.data.listing.trees import describe, listed, names, touch
from volseg.data.listing.find import find_scans
from volseg.errors import DataError

NNUNET = {"channel_names": {"0": "T1c", "1": "FLAIR"}, "labels": {}, "file_ending": ".nii.gz"}


@pytest.fixture
def decathlon(tmp_path):
    folder = touch(tmp_path / "Task", "imagesTr/a.nii.gz", "imagesTs/b.nii.gz", "labelsTr/a.nii.gz")
    training = [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]
    return describe(folder, modality={"0": "CT"}, training=training, test=["./imagesTs/b.nii.gz"])


@pytest.fixture
def nnunet(tmp_path):
    folder = touch(tmp_path / "Dataset001_X", "labelsTr/p1.nii.gz")
    for name in ("imagesTr/p1", "imagesTs/p_2"):
        touch(folder, f"{name}_0000.nii.gz", f"{name}_0001.nii.gz")
    return describe(folder, **NNUNET)


def test_a_decathlon_gives_its_images_and_no_labels(decathlon):
    expected = [
        ("imagesTs/b", {"CT": "b.nii.gz"}, None),
        ("imagesTr/a", {"CT": "a.nii.gz"}, None),
    ]
    assert listed(decathlon) == listed(decathlon / "dataset.json") == expected
    assert listed(decathlon, ("CT",)) == expected
    assert names(decathlon / "imagesTr") == ["a"]


def test_a_decathlon_may_have_one_list_only(tmp_path):
    touch(tmp_path, "imagesTs/b.nii")
    assert names(describe(tmp_path, test=["imagesTs/b.nii"])) == ["imagesTs/b"]


def test_a_ct_is_not_taken_for_an_mri(decathlon):
    reasons = {reason for _, _, reason in listed(decathlon, ("MRI",))}
    assert reasons == {"shows CT, and mri is wanted"}
    assert {case[2] for case in listed(decathlon, ("t1c",))} == {"shows CT, and t1c is wanted"}


def test_channels_in_one_4d_file_are_refused_by_case(tmp_path):
    touch(tmp_path, "imagesTr/a.nii.gz")
    describe(tmp_path, modality={"0": "FLAIR", "1": "T1w"}, training=["imagesTr/a.nii.gz"])
    ((name, _, reason),) = listed(tmp_path, ("flair", "t1"))
    assert name == "imagesTr/a"
    assert "holds 2 channels (FLAIR, T1w) in one 4D file" in reason


def test_an_image_that_is_lost_is_listed(decathlon):
    (decathlon / "imagesTs/b.nii.gz").unlink()
    assert [case[2] for case in listed(decathlon)] == ["does not exist", None]


def test_an_entry_without_an_image_is_refused(tmp_path):
    describe(tmp_path, training=[{"label": "x.nii"}])
    with pytest.raises(DataError, match=r"\{'label': 'x\.nii'\} under 'training' names no image"):
        find_scans([tmp_path])


def test_nnunet_channels_have_names_and_test_images_come_first(nnunet):
    assert listed(nnunet) == [
        ("imagesTs/p_2", {"T1c": "p_2_0000.nii.gz", "FLAIR": "p_2_0001.nii.gz"}, None),
        ("imagesTr/p1", {"T1c": "p1_0000.nii.gz", "FLAIR": "p1_0001.nii.gz"}, None),
    ]
    assert listed(nnunet / "imagesTr", ("flair", "t1ce")) == [
        ("p1", {"flair": "p1_0001.nii.gz", "t1ce": "p1_0000.nii.gz"}, None)
    ]


def test_one_channel_of_nnunet_is_picked_under_the_cases_name(nnunet):
    assert listed(nnunet / "imagesTr", ("FLAIR",)) == [("p1", {"FLAIR": "p1_0001.nii.gz"}, None)]


def test_for_mri_each_file_of_nnunet_is_a_case_and_one_channel_needs_no_number(nnunet):
    assert names(nnunet / "imagesTr", ("MRI",)) == ["p1_0000", "p1_0001"]
    (nnunet / "imagesTr/p1_0001.nii.gz").unlink()
    describe(nnunet, channel_names={"0": "T1"})
    assert names(nnunet / "imagesTr", ("MRI",)) == ["p1"]


def test_nnunet_files_that_do_not_fit_are_listed_with_the_reason(nnunet):
    touch(nnunet, "imagesTr/p3_0000.nii.gz", "imagesTr/stray.nii.gz", "imagesTr/p1_0007.nii.gz")
    found = {name: reason for name, _, reason in listed(nnunet / "imagesTr", ("t1c", "flair"))}
    assert found["p1"] is None
    assert found["p3"] == "lacks flair; it has T1c"
    assert found["stray"].startswith("its name ends in no channel's number, such as _0000")


def test_a_map_overrules_the_channels_of_nnunet(tmp_path):
    touch(tmp_path, "imagesTs/p_0000.nii.gz", "imagesTs/p_0001.nii.gz", "imagesTs/p_0002.nii.gz")
    describe(tmp_path, channel_names={"0": "noNorm", "1": "zscore", "2": "FLAIR"})
    map_ = {"t1c": "_0001", "flair": "_0000"}
    assert listed(tmp_path, ("t1c", "flair"), channel_map=map_) == [
        ("imagesTs/p", {"t1c": "p_0001.nii.gz", "flair": "p_0000.nii.gz"}, None)
    ]


def test_nnunet_may_name_its_training_images_one_by_one(nnunet):
    touch(nnunet, "raw/x.nii.gz", "raw/y.nii.gz")
    describe(nnunet, **NNUNET, dataset={"q": {"images": ["raw/x.nii.gz", "raw/y.nii.gz"]}})
    assert names(nnunet) == ["imagesTs/p_2", "q"]
    describe(nnunet, **NNUNET, dataset={"q": {"images": ["raw/x.nii.gz"]}})
    with pytest.raises(DataError, match="q under 'dataset' needs 2 images, one a channel"):
        find_scans([nnunet])


def test_a_layout_that_is_asked_for_must_be_there(decathlon):
    with pytest.raises(DataError, match=r"has no 'channel_names', such as \{\"0\": \"T1\"\}"):
        find_scans([decathlon], layout="nnunet")
    with pytest.raises(
        DataError, match=r"Task holds no image under sub-\*/\[ses-\*/\]\{anat,ct,pet\}"
    ):
        find_scans([decathlon], layout="bids")
