"""Names say case and channel: by a map, or by the sequence at their end."""

import pytest

from tests.data.listing.trees import listed, names, touch
from volseg.data.listing.find import find_scans
from volseg.data.listing.naming import Naming
from volseg.data.listing.sequences import canonical, is_label, modality_of, split_sequence
from volseg.errors import DataError


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        ("BraTS20_Training_001_t1ce", ("BraTS20_Training_001", "t1c")),
        ("UPENN-GBM-00001_11_T1GD", ("UPENN-GBM-00001_11", "t1c")),
        ("T1", ("", "t1")),
        ("p_T1-post-contrast", ("p", "t1c")),
        ("p T2 FLAIR", ("p", "flair")),
        ("sub-01_ce-prohance_T1w", ("sub-01", "t1c")),
        ("sub-01_ce-prohance_FLAIR", ("sub-01", "ce-flair")),
        ("patient1", ("patient1", None)),
        ("xt1", ("xt1", None)),
        ("p_t1_bias", ("p_t1_bias", None)),
        ("p_t1_post", ("p_t1_post", None)),  # after surgery, or with contrast?
        ("", ("", None)),
    ],
)
def test_a_sequence_stands_at_the_end_of_a_name(leaf, expected):
    assert split_sequence(leaf) == expected


def test_spellings_of_a_channel_are_one():
    assert {canonical(text) for text in ("T1c", "t1ce", "T1 Gd", "T1-CE", "ce_T1w")} == {"t1c"}
    assert canonical(" CT ") == "ct"


def test_channels_tell_their_modality():
    asked = ("FLAIR", "ce-flair", "MRI", "CT", "PT", "image")
    assert [modality_of(name) for name in asked] == ["mr", "mr", "mr", "ct", "pet", ""]


def test_labels_are_told_by_whole_words():
    labels = ("x_seg", "sub-1_desc-brain_mask", "X-Seg-2", "segment_1", "masked_t9")
    assert [is_label(leaf) for leaf in labels] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("pattern", "name", "case"),
    [
        ("_T1_Gd", "a/x_t1_gd", "a/x"),
        ("_T1_Gd.nii.gz", "x_T1_Gd", "x"),
        ("post", "a/post", "a"),
        ("*_post", "a/x_post", "a/x"),
        ("*t1*post*", "a/b/x_t1_m_post_3", "a/b"),
        ("post?", "a/post1", "a/1"),
        ("T1c/*", "T1c/p1", "p1"),
        ("T1c/*.nii.gz", "T1c/p1", "p1"),
        ("*/t1c", "p1/t1c", "p1"),
        ("*/ses-*/x_*_t1", "p1/ses-2/x_7_t1", "p1/2/7"),
        ("**/anat/*_t1", "s/p1/anat/x_t1", "s/p1/x"),
        ("**/anat/*_t1", "anat/x_t1", "x"),
        ("[ab]_t1", "q/a_t1", "q/a"),
        ("x.t1", "xzt1", None),
        ("*/t1c", "a/p1/t1c", None),
        ("[!ab]_gd", "q/a_gd", None),
        ("_t1", "x_t1c", None),
    ],
)
def test_a_map_reads_ends_of_names_and_patterns(pattern, name, case):
    naming = Naming({"T1c": pattern})
    expected = (name, None) if case is None else (case, "T1c")
    assert naming.read(name, "root") == expected


def test_of_two_patterns_that_fit_the_longer_wins():
    naming = Naming({"t1": "t1", "t1c": "ct1", "t2": "*t2*", "flair": "*t2*flair*"})
    assert naming.read("x_ct1", "root") == ("x", "t1c")
    assert naming.read("p/t2_a_flair", "root") == ("p", "flair")


def test_a_map_overrules_the_habits_of_names_for_its_channels_only(tmp_path):
    touch(tmp_path, "p_t1c.nii", "p_gd.nii", "p_flair.nii", "q_t1c.nii", "q_flair.nii")
    first, second = listed(tmp_path, ("t1c", "flair"), channel_map={"t1c": "_gd"})[:2]
    assert first == ("p", {"t1c": "p_gd.nii", "flair": "p_flair.nii"}, None)
    assert second[2] == "lacks t1c; it has flair"


def test_a_map_pairs_a_folder_for_each_channel(tmp_path):
    touch(tmp_path, *(f"{kind}/p{k}.nii" for kind in ("GD", "dark") for k in (1, 2)))
    map_ = {"t1c": "GD/*", "flair": "dark/*"}
    assert names(tmp_path, ("flair", "t1c"), channel_map=map_) == ["p1", "p2"]
    assert list(find_scans([tmp_path], channel_map=map_)[0].sources) == ["t1c", "flair"]


def test_a_map_chooses_images_for_a_channel_that_is_no_sequence(tmp_path):
    touch(tmp_path, "p_venous.nii", "p_native.nii", "q_native.nii")
    first, second = listed(tmp_path, ("CT",), channel_map={"CT": "_venous"})
    assert first == ("p_venous", {"CT": "p_venous.nii"}, None)
    assert second[2].startswith("its name does not say which of CT it shows")


def test_a_map_without_a_pattern_is_refused():
    with pytest.raises(DataError, match=r"gives nothing for t1c; give the end of a file's name"):
        Naming({"t1c": ".nii.gz"})
