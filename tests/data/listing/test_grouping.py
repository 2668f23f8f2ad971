"""Images become cases of the channels that a network takes, or say what is wrong."""

import logging

import pytest

from tests.data.listing.trees import listed, names, touch

BRATS = ("t1c", "t1", "t2", "flair")


@pytest.mark.parametrize(
    "spelled",
    [
        ("_t1ce", "_t1", "_t2", "_flair"),  # BraTS 2017 to 2020
        ("-t1c", "-t1n", "-t2w", "-t2f"),  # BraTS from 2023 on
        ("_T1GD", "_T1", "_T2", "_FLAIR"),
        ("_T1post", "_T1w", "_T2w", "_T2_FLAIR"),
        ("_t1-gd", "_t1", "_t2", "_t2flair"),
        ("_ce-gadolinium_T1w", "_T1w", "_T2w", "_FLAIR"),
    ],
)
def test_sequences_of_one_patient_make_one_case(tmp_path, spelled):
    for patient in ("P1", "P2"):
        touch(tmp_path, *(f"{patient}/{patient}{end}.nii.gz" for end in spelled))
        touch(tmp_path, f"{patient}/{patient}_seg.nii.gz")
    assert listed(tmp_path, BRATS) == [
        (
            f"{patient}/{patient}",
            {
                channel: f"{patient}{end}.nii.gz"
                for channel, end in zip(BRATS, spelled, strict=True)
            },
            None,
        )
        for patient in ("P1", "P2")
    ]


def test_channels_come_in_the_order_and_spelling_of_the_network(tmp_path):
    touch(tmp_path, "p_flair.nii", "p_t1ce.nii", "p_t1.nii")
    ((name, files, reason),) = listed(tmp_path, ("FLAIR", "T1Gd"))
    assert list(files.items()) == [("FLAIR", "p_flair.nii"), ("T1Gd", "p_t1ce.nii")]
    assert (name, reason) == ("p", None)


def test_files_named_by_sequence_alone_make_the_case_of_their_folder(tmp_path):
    touch(tmp_path, "p1/T1c.nii", "p1/FLAIR.nii", "p2/ses1/T1c.nii", "p2/ses1/FLAIR.nii")
    assert names(tmp_path, ("t1c", "flair")) == ["p1", "p2/ses1"]
    assert names(tmp_path / "p1", ("t1c", "flair")) == ["p1"]


def test_files_given_one_by_one_make_cases_too(tmp_path):
    paths = ["p1/x_t1c.nii", "p1/x_flair.nii", "p2/y_t1c.nii", "p2/y_flair.nii"]
    touch(tmp_path, *paths)
    assert names([tmp_path / path for path in paths], ("t1c", "flair")) == ["x", "y"]


def test_images_of_two_inputs_make_no_case(tmp_path):
    touch(tmp_path, "one/x_t1c.nii", "two/y_flair.nii")
    reasons = [case[2] for case in listed([tmp_path / "one", tmp_path / "two"], ("t1c", "flair"))]
    assert reasons == ["lacks flair; it has t1c", "lacks t1c; it has flair"]


def test_a_case_that_lacks_a_channel_is_listed_with_what_it_has(tmp_path):
    touch(tmp_path, "a_t1c.nii", "a_flair.nii", "b_t1.nii", "b_t1c.nii", "c_t2.nii")
    assert listed(tmp_path, ("t1c", "flair")) == [
        ("a", {"t1c": "a_t1c.nii", "flair": "a_flair.nii"}, None),
        ("b", {"t1c": "b_t1c.nii", "t1": "b_t1.nii"}, "lacks flair; it has t1, t1c"),
        ("c", {"t2": "c_t2.nii"}, "lacks t1c, flair; it has t2"),
    ]


def test_two_files_for_one_channel_are_both_named(tmp_path):
    touch(tmp_path, "a_t1c.nii", "a_t1ce.nii", "a_flair.nii", "b_t1c.nii", "b_flair.nii")
    doubled, whole = listed(tmp_path, ("t1c", "flair"))
    both = f"{tmp_path}/a_t1c.nii and {tmp_path}/a_t1ce.nii both show t1c; keep one"
    assert doubled[0] == "a"
    assert doubled[2].startswith(both)
    assert whole == ("b", {"t1c": "b_t1c.nii", "flair": "b_flair.nii"}, None)


def test_one_file_that_was_named_twice_is_not_two(tmp_path):
    touch(tmp_path, "a_t1c.nii", "a_flair.nii")
    assert names([tmp_path, tmp_path / "a_t1c.nii"], ("t1c", "flair")) == ["a"]


def test_without_channels_each_image_is_a_case(tmp_path):
    touch(tmp_path, "a_t1c.nii", "a_flair.nii")
    assert listed(tmp_path) == [
        ("a_flair", {"": "a_flair.nii"}, None),
        ("a_t1c", {"": "a_t1c.nii"}, None),
    ]


@pytest.mark.parametrize("channel", ["MRI", "CT", "image"])
def test_for_a_channel_that_is_no_sequence_each_image_is_a_case(tmp_path, channel):
    touch(tmp_path, "a_t1.nii", "a_t2.nii")  # of a CT these are times
    assert names(tmp_path, (channel,)) == ["a_t1", "a_t2"]


def test_for_one_sequence_the_files_that_show_it_are_taken_under_their_names(tmp_path):
    touch(tmp_path, "a_t1c.nii", "a_t1gd.nii", "a_flair.nii", "b_flair.nii", "b_seg.nii")
    assert listed(tmp_path, ("T1c",)) == [
        ("a_t1c", {"T1c": "a_t1c.nii"}, None),
        ("a_t1gd", {"T1c": "a_t1gd.nii"}, None),
        ("b", {"flair": "b_flair.nii"}, "lacks T1c; it has flair"),
    ]


def test_for_one_sequence_files_whose_names_say_nothing_are_all_taken(tmp_path):
    touch(tmp_path, "a.nii", "b.nii")
    assert listed(tmp_path, ("T1c",)) == [("a", {"": "a.nii"}, None), ("b", {"": "b.nii"}, None)]


def test_a_single_file_is_taken_though_its_name_says_otherwise_and_that_is_said(tmp_path, caplog):
    touch(tmp_path, "a_flair.nii")
    with caplog.at_level(logging.WARNING, "volseg"):
        assert names(tmp_path / "a_flair.nii", ("t1c",)) == ["a_flair"]
    assert "a_flair.nii shows flair by its name, and t1c is wanted" in caplog.text


def test_what_lies_beside_a_whole_case_is_left_out_and_that_is_said(tmp_path, caplog):
    touch(tmp_path, "p1/p1_t1c.nii", "p1/p1_flair.nii", "p1/p1_t1c_bias.nii", "p1/maps/x.nii")
    with caplog.at_level(logging.WARNING, "volseg"):
        assert names(tmp_path, ("t1c", "flair")) == ["p1/p1"]
    why = "shows none of t1c, flair, and lies beside a case that has them"
    left_out = ["p1/maps/x.nii", "p1/p1_t1c_bias.nii"]
    assert sorted(caplog.messages) == [f"left out: {tmp_path / name}: {why}" for name in left_out]


def test_an_image_of_another_patient_is_not_left_out(tmp_path):
    touch(tmp_path, "a_t1c.nii", "a_flair.nii", "b_t1c.nii", "b_flair.nii", "c_spgr.nii")
    *_, (name, files, reason) = listed(tmp_path, ("t1c", "flair"))
    assert (name, files) == ("c_spgr", {"": "c_spgr.nii"})
    assert reason == (
        "its name does not say which of t1c, flair it shows; rename it or give a channel map"
    )


def test_a_patient_whose_name_begins_like_anothers_is_not_left_out(tmp_path):
    touch(tmp_path, "p1_t1c.nii", "p1_flair.nii", "p1_adcmap.nii", "p10_spgr.nii")
    assert [case[0] for case in listed(tmp_path, ("t1c", "flair"))] == ["p1", "p10_spgr"]


def test_everything_in_the_folder_of_a_patient_belongs_to_the_patient(tmp_path):
    touch(tmp_path, "p1/t1c.nii", "p1/flair.nii", "p1/bias.nii", "p1/maps/x.nii", "p2/spgr.nii")
    assert [case[0] for case in listed(tmp_path, ("t1c", "flair"))] == ["p1", "p2/spgr"]


def test_of_files_given_one_by_one_the_one_that_shows_the_sequence_is_taken(tmp_path):
    touch(tmp_path, "a_t1c.nii", "a_flair.nii", "b.nii")
    paths = [tmp_path / name for name in ("a_flair.nii", "a_t1c.nii", "b.nii")]
    assert sorted(names(paths, ("t1c",))) == ["a_t1c", "b"]
