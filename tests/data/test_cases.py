"""Cases are found, named and listed, or refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.data.files import image, label, save, save_dataset
from volseg.data.cases import Case, find_cases, items, label_values, require_usable
from volseg.data.splits import write_split
from volseg.errors import DataError, GeometryError


def test_a_single_file_is_one_case(tmp_path):
    path = save(tmp_path / "Zoë (копия).nii.gz", image())
    assert find_cases(path) == [Case("Zoë (копия)", (path,))]


def test_a_folder_tree_gives_cases_named_by_their_path(tmp_path):
    for name in ("b/x.nii.gz", "a/x.nii", "c.d.nii.gz", ".hidden/x.nii", "b/._x.nii.gz"):
        save(tmp_path / name, image())
    (tmp_path / "notes.txt").write_text("nothing")
    cases = find_cases(str(tmp_path))
    assert [case.name for case in cases] == ["a/x", "b/x", "c.d"]
    assert cases[1].images == (tmp_path / "b/x.nii.gz",)
    assert all(case.label is None and case.group is None for case in cases)


def test_two_files_of_one_name_are_refused(tmp_path):
    save(tmp_path / "x.nii", image())
    save(tmp_path / "x.nii.gz", image())
    with pytest.raises(DataError, match=r"x\.nii.* and .*x\.nii\.gz are both named x"):
        find_cases(tmp_path)


def test_a_decathlon_folder_and_its_json_give_the_same_cases(tmp_path):
    save_dataset(tmp_path, groups=["p1", "p1", "p2"])
    cases = find_cases(tmp_path)
    assert cases == find_cases(tmp_path / "dataset.json")
    assert [case.name for case in cases] == ["a", "b", "c"]
    assert [case.group for case in cases] == ["p1", "p1", "p2"]
    assert cases[0].label == tmp_path / "labelsTr/a.nii.gz"


def test_groups_may_come_from_another_table(tmp_path):
    save_dataset(tmp_path, groups=["p1", "p1", "p2"])
    table = tmp_path / "scanners.csv"
    table.write_text("case,group\na,s1\nb,s2\nc,s1\nz,s3\n")
    assert [case.group for case in find_cases(tmp_path, table)] == ["s1", "s2", "s1"]


def test_a_csv_gives_cases_relative_to_it(tmp_path):
    save(tmp_path / "scans/1.nii.gz", image())
    save(tmp_path / "scans/2.nii.gz", image())
    save(tmp_path / "masks/1.nii.gz", label())
    table = tmp_path / "cases.csv"
    rows = ["image,label,group", "scans/1.nii.gz,masks/1.nii.gz,p", "scans/2.nii.gz,,"]
    table.write_text("\n".join(rows), encoding="utf-8-sig")  # as spreadsheets write it
    first, second = find_cases(table)
    assert first == Case(
        "scans/1", (tmp_path / "scans/1.nii.gz",), tmp_path / "masks/1.nii.gz", "p"
    )
    assert second == Case("scans/2", (tmp_path / "scans/2.nii.gz",))


BAD_JSON = {
    "is no JSON": ("{", "cannot be read as JSON"),
    "is a list": ("[]", "lists no cases under 'training'"),
    "lacks training": ('{"labels": {}}', "lists no cases under 'training'"),
    "names no image": ('{"training": [{"label": "x"}]}', "under 'training' names no image"),
    "lists nothing": ('{"training": []}', "holds no NIfTI file"),
    "names a missing file": ('{"training": ["a.nii"]}', r"a\.nii does not exist \(1 of 1 files\)"),
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_a_bad_dataset_json_is_refused_by_name(tmp_path, name):
    text, message = BAD_JSON[name]
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        find_cases(tmp_path)
    assert str(tmp_path) in str(error.value)


BAD_TABLES = {
    "case,patient\na,1\n": "no column 'group'",
    "case,group\na,1\n": r"gives no group for b \(2 of 3 cases\)",
    "name,group\na,1\n": "none under the column 'case'",
    "": "has no row",
}


@pytest.mark.parametrize("text", BAD_TABLES)
def test_a_bad_table_of_groups_is_refused(tmp_path, text):
    save_dataset(tmp_path / "data")
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(DataError, match=BAD_TABLES[text]):
        find_cases(tmp_path / "data", tmp_path / "groups.csv")


def test_a_table_that_is_no_text_is_refused(tmp_path):
    save_dataset(tmp_path / "data")
    (tmp_path / "groups.csv").write_bytes(b"\xff\xfe\x00case")
    with pytest.raises(DataError, match="cannot be read as CSV"):
        find_cases(tmp_path / "data", tmp_path / "groups.csv")


def test_an_empty_folder_and_a_missing_path_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds no NIfTI file"):
        find_cases(tmp_path)
    with pytest.raises(DataError, match="nowhere does not exist"):
        find_cases(tmp_path / "nowhere")


def test_items_hold_paths_and_no_other_key(tmp_path):
    save_dataset(tmp_path)
    expected = [
        {key: str(tmp_path / f"{key}sTr" / f"{name}.nii.gz") for key in ("image", "label")}
        for name in "abc"
    ]
    assert items(str(tmp_path)) == expected
    assert items(find_cases(tmp_path)) == expected
    assert items(tmp_path, with_labels=False) == [{"image": item["image"]} for item in expected]


def test_several_channels_become_a_list(tmp_path):
    paths = tuple(save(tmp_path / f"{name}.nii.gz", image()) for name in ("t1", "t2"))
    assert items([Case("x", paths)]) == [{"image": [str(path) for path in paths]}]


def test_items_follow_the_split(tmp_path):
    save_dataset(tmp_path / "data")
    known = {case.name: case for case in find_cases(tmp_path / "data")}
    parts = {"training": [known["c"], known["a"]], "validation": [known["b"]]}
    write_split(tmp_path / "split.json", parts)
    chosen = items(tmp_path / "data", tmp_path / "split.json", "training")
    assert [Path(item["image"]).name for item in chosen] == ["c.nii.gz", "a.nii.gz"]
    with pytest.raises(DataError, match="has no part 'test'; it has training, validation"):
        items(tmp_path / "data", tmp_path / "split.json", "test")


def test_a_split_of_other_data_is_refused(tmp_path):
    save_dataset(tmp_path / "data")
    (tmp_path / "split.json").write_text(json.dumps({"training": ["a", "y", "z"]}))
    with pytest.raises(DataError, match=r"names y \(2 of 3 cases\), which the data lacks"):
        items(tmp_path / "data", tmp_path / "split.json", "training")


def test_a_value_that_the_data_set_does_not_know_is_named_before_training(tmp_path):
    save_dataset(tmp_path)
    spoiled = label()
    spoiled[0, 0, 0] = 7
    save(tmp_path / "labelsTr" / "b.nii.gz", spoiled)
    message = r"b\.nii\.gz: holds the label value 7, and the data set knows only \[0, 1, 2\]"
    with pytest.raises(DataError, match=message):
        items(tmp_path)
    assert len(items(tmp_path, with_labels=False)) == 3


def test_a_label_on_another_grid_is_named_before_training(tmp_path):
    save_dataset(tmp_path)
    save(tmp_path / "labelsTr" / "b.nii.gz", label(), np.diag([1.0, 1, 2, 1]))
    with pytest.raises(
        GeometryError, match=r"labelsTr/b\.nii\.gz: lies up to 7 mm from .*imagesTr"
    ):
        items(tmp_path)


def test_an_unreadable_image_is_named_before_training(tmp_path):
    save_dataset(tmp_path)
    (tmp_path / "imagesTr" / "c.nii.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"c\.nii\.gz: is empty"):
        items(tmp_path)


def test_label_values_are_those_of_the_json(tmp_path):
    save_dataset(tmp_path)
    assert label_values(tmp_path) == {0: "background", 1: "front", 2: "back"}
    save(tmp_path / "other/x.nii.gz", image())
    assert label_values(tmp_path / "other") is None
    (tmp_path / "dataset.json").write_text('{"training": []}')
    assert label_values(tmp_path) is None
    (tmp_path / "dataset.json").write_text('{"training": [], "labels": {"background": 0}}')
    with pytest.raises(DataError, match=r"label values are \['background'\]; use whole numbers"):
        label_values(tmp_path)


@pytest.mark.real
@pytest.mark.parametrize("name", ["shifted", "flipped", "othershape"])
def test_real_labels_of_other_grids_are_refused(shared_data, name):
    folder = shared_data / "hostile" / "14_label_geometry_mismatch"
    paths = [folder / part / f"{name}.nii.gz" for part in ("imagesTr", "labelsTr")]
    with pytest.raises(GeometryError, match="they must share a grid") as error:
        require_usable(Case(name, (paths[0],), paths[1]))
    assert all(str(path) in str(error.value) for path in paths)


@pytest.mark.real
def test_the_real_data_set_has_200_cases_of_131_people(shared_data):
    cases = find_cases(shared_data / "Task04_Hippocampus")
    assert len(cases) == 200
    # read from its cases.csv by hand: hippocampus_001 is of group 1, 006 of group 3
    assert [case.group for case in cases[:2]] == ["1", "3"]
    assert len({case.group for case in cases}) == 131
