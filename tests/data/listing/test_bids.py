"""BIDS data sets are listed by subject and session, and results are named as derivatives."""

import logging
from pathlib import Path

import pytest

from tests.data.listing.trees import listed, names, touch
from volseg.data.listing.bids import bids_output_name
from volseg.data.listing.find import find_scans
from volseg.data.listing.scan_case import ScanCase
from volseg.errors import DataError


@pytest.fixture
def study(tmp_path):
    folder = touch(tmp_path / "study", "dataset_description.json", "participants.tsv")
    for session in ("ses-1", "ses-2"):
        place = f"sub-01/{session}/anat/sub-01_{session}"
        touch(folder, f"{place}_T1w.nii.gz", f"{place}_T1w.json", f"{place}_FLAIR.nii.gz")
        touch(folder, f"{place}_ce-gadolinium_T1w.nii.gz")
    touch(folder, "sub-02/anat/sub-02_acq-space_T2w.nii", "sub-02/anat/sub-02_dseg.nii.gz")
    touch(folder, "sub-02/func/sub-02_task-rest_bold.nii.gz", "sub-02/anat/.hidden_T1w.nii")
    touch(folder, "sub-02/anat/sub-02_part-phase_T2w.nii.gz")
    touch(folder, "derivatives/sub-01/anat/sub-01_T1w.nii.gz", "sourcedata/sub-01/raw_T1w.nii")
    return folder


def test_sequences_of_a_session_make_a_case(study):
    place = "sub-01/ses-{0}/anat/sub-01_ses-{0}"
    found = listed(study, ("t1c", "flair"))
    assert found[:2] == [
        (
            place.format(session),
            {
                "t1c": f"sub-01_ses-{session}_ce-gadolinium_T1w.nii.gz",
                "flair": f"sub-01_ses-{session}_FLAIR.nii.gz",
            },
            None,
        )
        for session in (1, 2)
    ]
    assert found[2][0] == "sub-02/anat/sub-02"
    assert found[2][2] == "lacks t1c, flair; it has t2"
    assert len(found) == 3


def test_each_scan_is_a_case_where_no_sequence_is_asked_for(study):
    expected = [
        f"sub-01/ses-{session}/anat/sub-01_ses-{session}_{end}"
        for session in (1, 2)
        for end in ("FLAIR", "T1w", "ce-gadolinium_T1w")
    ]
    assert (
        names(study)
        == names(study, ("MRI",))
        == [
            *expected,
            "sub-02/anat/sub-02_acq-space_T2w",
        ]
    )


def test_one_sequence_is_picked_under_its_own_name(study):
    assert names(study / "sub-01", ("T1",)) == [
        "sub-01/ses-1/anat/sub-01_ses-1_T1w",
        "sub-01/ses-2/anat/sub-01_ses-2_T1w",
    ]


def test_a_subject_and_a_session_are_parts_of_their_data_set(study):
    assert names(study / "sub-01", ("t1c", "t1")) == [
        "sub-01/ses-1/anat/sub-01_ses-1",
        "sub-01/ses-2/anat/sub-01_ses-2",
    ]
    assert names(study / "sub-01/ses-2", ("t1c", "t1")) == ["sub-01/ses-2/anat/sub-01_ses-2"]
    assert names(str(study / "sub-*[2-9]"), ("T2",)) == ["sub-02/anat/sub-02_acq-space_T2w"]


def test_two_runs_of_one_sequence_are_both_named_and_a_map_decides(study):
    touch(study, "sub-01/ses-1/anat/sub-01_ses-1_run-2_FLAIR.nii.gz")
    first = listed(study, ("t1", "flair"))[0]
    assert "sub-01_ses-1_FLAIR.nii.gz and " in first[2]
    assert "sub-01_ses-1_run-2_FLAIR.nii.gz both show flair" in first[2]
    map_ = {"flair": "run-2_FLAIR"}
    assert listed(study, ("t1", "flair"), channel_map=map_)[0][1:] == (
        {"t1": "sub-01_ses-1_T1w.nii.gz", "flair": "sub-01_ses-1_run-2_FLAIR.nii.gz"},
        None,
    )


def test_no_ct_is_given_to_a_network_for_mri(study):
    touch(study, "sub-03/ct/sub-03_ct.nii.gz")
    reasons = {name: reason for name, _, reason in listed(study, ("MRI",))}
    assert reasons.pop("sub-03/ct/sub-03_ct") == "shows ct, and mri is wanted"
    assert set(reasons.values()) == {None}
    ((name, files, reason),) = listed(study / "sub-03", ("CT",))
    assert (name, files, reason) == ("sub-03/ct/sub-03_ct", {"CT": "sub-03_ct.nii.gz"}, None)


def test_results_of_earlier_runs_are_left_out_of_a_tree(study, caplog):
    touch(study.parent, "out/sub-01/anat/sub-01_desc-preproc_T1w.nii.gz", "empty/x.txt")
    for folder, content in (("out", '{"DatasetType": "derivative"}'), ("empty", "{}")):
        (study.parent / folder / "dataset_description.json").write_text(content)
    with caplog.at_level(logging.WARNING, "volseg"):
        assert all(name.startswith("study/sub-") for name in names(study.parent))
    assert "out, which holds results" in caplog.text
    assert "empty, which holds no image under sub-" in caplog.text
    assert names(study.parent / "out") == ["sub-01/anat/sub-01_desc-preproc_T1w"]


def test_a_folder_without_description_is_bids_on_request(study):
    (study / "dataset_description.json").unlink()
    assert len(names(study, layout="bids")) == 7
    assert len(listed(study)) > 7


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sub-01/anat/sub-01", "sub-01/anat/sub-01_space-orig_dseg"),
        (
            "sub-01/ses-2/anat/sub-01_ses-2_acq-a_run-1_FLAIR",
            "sub-01/ses-2/anat/sub-01_ses-2_acq-a_run-1_space-orig_desc-FLAIR_dseg",
        ),
        (
            "study/sub-01/anat/sub-01_space-MNI_desc-preproc_T1w",
            "sub-01/anat/sub-01_space-MNI_desc-preprocT1w_dseg",
        ),
    ],
)
def test_results_are_named_by_the_entities_of_their_images(name, expected):
    assert bids_output_name(ScanCase(name, {})) == Path(expected)


def test_every_case_of_a_study_has_its_own_result(study):
    results = [bids_output_name(case, "probseg") for case in find_scans([study])]
    assert len(set(results)) == 7
    assert all(path.name.endswith("_probseg") for path in results)


def test_a_case_without_a_subject_has_no_name_in_bids():
    with pytest.raises(DataError, match=r"p1/x_t1 names no subject \(sub-\.\.\.\)"):
        bids_output_name(ScanCase("p1/x_t1", {}))
