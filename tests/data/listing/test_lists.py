"""CSV and TSV lists name images by row, or a column for each channel."""

import pytest

from tests.data.dicom.files import along, noise, save_series
from tests.data.listing.trees import listed, names, touch
from volseg.data.listing.find import find_scans
from volseg.errors import DataError


def write(path, *lines, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding=encoding)
    return path


def test_rows_name_images_relative_to_the_list(tmp_path):
    touch(tmp_path, "lists/scans/a.nii.gz", "elsewhere/b.nii", "lists/c.mha")
    table = write(
        tmp_path / "lists/all.csv",
        *("image,name,age", "scans/a.nii.gz,,61", "../elsewhere/b.nii,,7"),
        *(f"{tmp_path}/lists/c.mha,patients/C,8", ",,", ""),
        encoding="utf-8-sig",  # as spreadsheets write it
    )
    assert names(table) == ["scans/a", "b", "patients/C"]
    assert names(table, ("MRI",)) == names(table, ("t1c",)) == ["scans/a", "b", "patients/C"]


@pytest.mark.parametrize(("name", "tab"), [("x.tsv", "\t"), ("x.csv", ";"), ("X.CSV", ",")])
def test_a_column_for_each_channel_makes_cases_whatever_the_files_names(tmp_path, name, tab):
    touch(tmp_path, "1.nii", "2.nii", "3.nii", "q/x_t1c.nii", "q/x_flair.nii")
    rows = [
        ["name", "T1Gd", "notes", "FLAIR", "t2"],
        ["p", "1.nii", "fine", "2.nii", "3.nii"],
        ["", "q/x_t1c.nii", "", "q/x_flair.nii", ""],
        ["r", "1.nii", "", "", ""],
    ]
    table = write(tmp_path / name, *(tab.join(row) for row in rows))
    assert listed(table, ("flair", "t1c")) == [
        ("p", {"flair": "2.nii", "t1c": "1.nii"}, None),
        ("q/x", {"flair": "x_flair.nii", "t1c": "x_t1c.nii"}, None),
        ("r", {"t1c": "1.nii"}, "lacks flair; it has T1Gd"),
    ]
    assert list(find_scans([table])[0].sources) == ["T1Gd", "FLAIR", "t2"]
    assert listed(table, ("t2",))[0] == ("p", {"t2": "3.nii"}, None)


def test_rows_of_two_patients_are_never_joined(tmp_path):
    touch(tmp_path, "a/t1c.nii", "b/flair.nii", "c/t1c.nii", "c/flair.nii")
    table = write(tmp_path / "x.csv", "t1c,flair", "a/t1c.nii,", ",b/flair.nii")
    assert [case[2] for case in listed(table, ("t1c", "flair"))] == [
        "lacks flair; it has t1c",
        "lacks t1c; it has flair",
    ]


def test_images_of_a_column_may_make_cases_by_their_names(tmp_path):
    touch(tmp_path, "p_t1c.nii", "p_flair.nii")
    table = write(tmp_path / "x.csv", "image", "p_t1c.nii", "p_flair.nii")
    assert names(table, ("t1c", "flair")) == ["p"]


def test_a_folder_of_one_series_may_be_a_row(tmp_path):
    save_series(tmp_path / "p1/ct", noise((4, 5, 3)), along(3, (0, 0, 2)))
    table = write(tmp_path / "x.csv", "image", "p1/ct")
    (case,) = find_scans([table], ("CT",))
    assert (case.name, len(case.sources[""].files)) == ("p1/ct", 3)


def test_an_image_that_is_not_there_is_listed_with_the_reason(tmp_path):
    touch(tmp_path, "a.nii", "c.txt")
    table = write(tmp_path / "x.csv", "image,name", "a.nii,", "b.nii,B", ",D", "c.txt,")
    assert [(name, reason) for name, _, reason in listed(table)] == [
        ("a", None),
        ("B", "does not exist"),
        ("D", "its row names no image"),
        (
            "c.txt",
            "is no image file; give .nii.gz, .nii, .hdr, .img, .nrrd, .nhdr, .mha, .mhd or DICOM",
        ),
    ]
    table = write(tmp_path / "y.csv", "t1c,flair,name", "a.nii,b.nii,p")
    assert listed(table, ("t1c", "flair"))[0][2] == f"{tmp_path}/b.nii: does not exist"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["picture,age", "a.nii,3"],
            r"has the columns picture, age; it needs a column 'image', or",
        ),
        ([""], "has the columns none; it needs"),
        (["image", ""], "names no image under image"),
        (["image", "b.nii", "c.nii"], r"none of its 2 images is there; .*b\.nii does not exist;"),
        (["image", '"a.nii'], "cannot be read as a list"),
    ],
)
def test_a_file_that_is_no_list_is_refused(tmp_path, lines, message):
    with pytest.raises(DataError, match=message):
        find_scans([write(tmp_path / "x.csv", *lines)])


def test_two_rows_of_one_name_are_refused(tmp_path):
    touch(tmp_path, "a.nii", "b.nii")
    table = write(tmp_path / "x.csv", "image,name", "a.nii,P", "b.nii,p")
    with pytest.raises(DataError, match=r"a\.nii and .*b\.nii would both be written as p"):
        find_scans([table])
