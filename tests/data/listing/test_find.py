"""Files, folders and patterns become cases, or are refused before anything runs."""

import logging

import pytest

from tests.data.dicom.files import along, noise, save_series
from tests.data.listing.trees import describe, listed, names, touch
from volseg.data.listing.find import find_scans
from volseg.data.source import Source
from volseg.errors import DataError


def save_two_slices(folder, uid, **tags):
    return save_series(folder, noise((4, 5, 2)), along(2, (0, 0, 3)), SeriesInstanceUID=uid, **tags)


def test_a_folders_tree_is_mirrored_in_the_names(tmp_path):
    touch(tmp_path, "b.nii", "site/a.NII.GZ", "site/deep/c.d.nrrd", "e.nhdr", "f.mha", "g.mhd")
    touch(tmp_path, "notes.txt", "e.raw", "._b.nii", ".trash/c.nii", "results/b.seg.nrrd")
    (tmp_path / "folder.nii").mkdir()
    found = find_scans([tmp_path])
    assert [case.name for case in found] == ["b", "e", "f", "g", "site/a", "site/deep/c.d"]
    assert dict(found[4].sources) == {"": Source("site/a", (tmp_path / "site/a.NII.GZ",), "nifti")}
    assert found[5].sources[""].format == "nrrd"


def test_a_file_is_taken_whatever_its_ending_and_says_why_it_cannot_be_read(tmp_path):
    touch(tmp_path, "scan.xyz", "Zoë (копия).v2.nii.gz")
    (strange,) = find_scans([tmp_path / "scan.xyz"])
    assert strange.name == "scan.xyz"
    assert strange.sources[""].files == (tmp_path / "scan.xyz",)
    assert strange.reason.startswith("is no image file; give .nii.gz")
    assert names(str(tmp_path / "Zoë (копия).v2.nii.gz")) == ["Zoë (копия).v2"]


def test_an_image_that_is_named_twice_is_one_case(tmp_path):
    folder = touch(tmp_path, "a.nii.gz", "b.nii.gz")
    assert names([folder / "b.nii.gz", folder, folder / "a.nii.gz"]) == ["b", "a"]


def test_an_analyze_header_counts_only_beside_its_data(tmp_path):
    touch(tmp_path, "a.hdr", "a.img", "b.hdr", "c.img")
    assert names(tmp_path) == ["a"]


def test_a_link_that_leads_nowhere_is_listed_not_lost(tmp_path):
    folder = touch(tmp_path, "in/a.nii.gz").joinpath("in")
    (folder / "lost.nii.gz").symlink_to(tmp_path / "gone.nii.gz")
    assert names(folder) == ["a", "lost"]
    assert names(folder / "lost.nii.gz") == ["lost"]


def test_linked_folders_are_entered_and_no_circle_is_walked_twice(tmp_path):
    touch(tmp_path, "store/p1/a.nii.gz", "in/b.nii.gz")
    (tmp_path / "in/p1").symlink_to(tmp_path / "store/p1")
    (tmp_path / "in/self").symlink_to(tmp_path / "in")
    assert names(tmp_path / "in") == ["b", "p1/a"]


def test_each_series_of_a_tree_is_a_case(tmp_path):
    save_two_slices(tmp_path / "in/p1/ct", "1.2.3")
    save_two_slices(tmp_path / "in/p2", "1.2.4", SeriesNumber=7, SeriesDescription="T1 axial")
    save_two_slices(tmp_path / "in/p2/more", "1.2.5", SeriesNumber=8)
    save_two_slices(tmp_path / "store", "1.2.6")
    touch(tmp_path, "in/p1/a.nii.gz")
    (tmp_path / "in/p3").symlink_to(tmp_path / "store")
    found = {case.name: len(case.sources[""].files) for case in find_scans([tmp_path / "in"])}
    assert found == {"p1/a": 1, "p1/ct": 2, "p2": 2, "p2/more": 2, "p3": 2}


def test_series_in_folders_named_by_sequence_make_one_case(tmp_path):
    for number, sequence in enumerate(("T1c", "FLAIR")):
        save_two_slices(tmp_path / "p1" / sequence, f"1.2.{number}")
    ((name, files, reason),) = listed(tmp_path, ("flair", "t1c"))
    assert (name, list(files), reason) == ("p1", ["flair", "t1c"], None)


def test_slices_given_one_by_one_are_refused(tmp_path):
    paths = save_two_slices(tmp_path / "in", "1.2.3")
    with pytest.raises(DataError, match=r"2 DICOM files of .*in were given one by one; give the"):
        find_scans(paths)
    with pytest.raises(DataError, match=r"fits no image; give the folders of DICOM series"):
        find_scans([str(tmp_path / "in" / "*.dcm")])


def test_a_pattern_finds_files_and_names_them_below_its_fixed_part(tmp_path):
    touch(tmp_path, "in/p1/x_t1.nii.gz", "in/p2/y/x_t1.nii.gz", "in/p2/x_t2.nii.gz", "in/n_t1.txt")
    assert names(str(tmp_path / "in/**/*_t1*")) == ["p1/x_t1", "p2/y/x_t1"]
    assert names(str(tmp_path / "in/p?/*_t1.nii.gz")) == ["p1/x_t1"]


def test_a_pattern_finds_folders_and_mentions_empty_ones(tmp_path, caplog):
    touch(tmp_path, "in/p1/a.nii", "in/p2/deep/b.nii", "in/p3/notes.txt", "in/q/c.nii", "in/p.nii")
    with caplog.at_level(logging.WARNING, "volseg"):
        assert sorted(names(str(tmp_path / "in/p*"))) == ["p", "p1/a", "p2/deep/b"]
    assert "in/p3, which holds no image (.nii" in caplog.text


def test_a_pattern_that_fits_a_folder_and_what_it_holds_finds_each_image_once(tmp_path):
    touch(tmp_path, "in/a.nii", "in/p1/b.nii", "in/set/imagesTr/c.nii", "in/set/labelsTr/c.nii")
    describe(tmp_path / "in/set", training=["imagesTr/c.nii"])
    save_two_slices(tmp_path / "in/p1/ct", "1.2.3")
    everything = ["a", "p1/b", "p1/ct", "set/imagesTr/c"]
    assert names(str(tmp_path / "in/**")) == names(str(tmp_path / "in/**/*")) == everything
    assert names(str(tmp_path / "in/**/*.nii")) == ["a", "p1/b", "set/imagesTr/c", "set/labelsTr/c"]


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path):
    touch(tmp_path, "a[1].nii", "a1.nii")
    assert names(str(tmp_path / "a[1].nii")) == ["a[1]"]


def test_data_sets_below_a_folder_keep_their_own_rules(tmp_path):
    touch(tmp_path, "x.nii", "Task01/imagesTr/a.nii.gz", "Task01/labelsTr/a.nii.gz")
    describe(tmp_path / "Task01", training=[{"image": "./imagesTr/a.nii.gz"}])
    touch(tmp_path, "study/sub-1/anat/sub-1_T1w.nii.gz", "study/derivatives/m.nii.gz")
    touch(tmp_path, "study/dataset_description.json")
    save_two_slices(tmp_path / "study/sourcedata", "1.2.3")
    save_two_slices(tmp_path / "y", "1.2.4")
    assert names(tmp_path) == [*("x", "y", "Task01/imagesTr/a", "study/sub-1/anat/sub-1_T1w")]
    assert names(tmp_path, layout="folder") == [
        *("Task01/imagesTr/a", "Task01/labelsTr/a"),
        *("study/derivatives/m", "study/sub-1/anat/sub-1_T1w", "x", "study/sourcedata", "y"),
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("absent.nii.gz", r"absent\.nii\.gz does not exist$"),
        ("empty", r"empty holds no image \(\.nii, .*\) and no DICOM series"),
        ("em*/*.nii", r"em\*/\*\.nii fits no image"),
        ("set", r"dataset\.json has neither 'channel_names' as in nnU-Net nor 'training'"),
        ("broken", r"dataset\.json cannot be read as JSON"),
        ("list", r"dataset\.json holds no JSON object"),
    ],
)
def test_an_input_without_images_is_refused(tmp_path, given, message):
    touch(tmp_path, "empty/a.txt", "set/labelsTr/a.nii.gz", "broken/dataset.json")
    describe(tmp_path / "set", name="a data set of someone else")
    touch(tmp_path, "list/a.nii").joinpath("list/dataset.json").write_text("[]")
    with pytest.raises(DataError, match=message):
        find_scans([tmp_path / given])


def test_what_cannot_be_meant_is_refused(tmp_path):
    touch(tmp_path, "a.nii")
    with pytest.raises(DataError, match="nothing to segment; give files or folders"):
        find_scans([])
    with pytest.raises(DataError, match=r"layout 'brats' is not known; use one of auto, folder"):
        find_scans([tmp_path], layout="brats")
    with pytest.raises(DataError, match=r"channel map speaks of tlc, and t1c, flair is wanted"):
        find_scans([tmp_path], ("t1c", "flair"), channel_map={"tlc": "_t1c"})
    with pytest.raises(DataError, match=r"channels T1c, T1Gd do not tell images apart"):
        find_scans([tmp_path], ("T1c", "T1Gd"))


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path, monkeypatch):
    touch(tmp_path, "p1/a.nii", "p2/b.nii")
    plain = type(tmp_path).iterdir

    def refuse(path):
        if path.name == "p2":
            raise PermissionError(13, "Permission denied")
        return plain(path)

    monkeypatch.setattr(type(tmp_path), "iterdir", refuse)
    with pytest.raises(DataError, match=r"p2 cannot be listed: Permission denied"):
        find_scans([tmp_path])
