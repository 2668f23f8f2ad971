"""Files are there whole, or not at all."""

from pathlib import Path

import pytest

from tests.inference.outputs.readings import files_in
from volseg.inference.outputs.whole import LEFTOVERS, ask_disk, hidden_name, whole_files, write_text


@pytest.mark.parametrize(
    "name", ["a.nii.gz", "a.nii", "a.seg.nrrd", "a.dcm", "a.json", "a b.c.nii.gz"]
)
def test_a_hidden_name_has_the_ending_and_is_found_after_a_kill(name):
    hidden = hidden_name(Path("folder") / name)
    assert hidden.parent == Path("folder")
    ending = next(e for e in (".nii.gz", ".seg.nrrd", Path(name).suffix) if name.endswith(e))
    assert hidden.name.endswith(f".partial{ending}")
    assert hidden.match(LEFTOVERS)
    assert hidden == hidden_name(Path("folder") / name)
    assert hidden != hidden_name(Path("folder") / f"x{name}")


def test_the_longest_name_that_a_disk_takes_can_be_written(tmp_path):
    path = tmp_path / f"{'ü' * 124}.json"
    write_text(path, "x")
    assert files_in(tmp_path) == [path.name]


def test_nothing_is_there_before_everything_is(tmp_path):
    first, second = tmp_path / "a.nii", tmp_path / "a.json"
    with whole_files(first, second) as (one, two):
        one.write_text("1")
        assert files_in(tmp_path) == [one.name]
        two.write_text("2")
    assert (first.read_text(), second.read_text()) == ("1", "2")
    assert files_in(tmp_path) == ["a.json", "a.nii"]


def write_both(folder, error=None):
    """Write two files, and fail before they are renamed if an error is given."""
    with whole_files(folder / "a.nii", folder / "a.json") as hidden:
        for path in hidden:
            path.write_text("new")
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_any_error_leaves_the_folder_as_it_was(tmp_path, error):
    (tmp_path / "a.json").write_text("old")
    with pytest.raises(error):
        write_both(tmp_path, error)
    assert files_in(tmp_path) == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"


def test_if_the_mask_cannot_get_its_name_what_was_renamed_before_is_removed(tmp_path):
    (tmp_path / "a.nii").mkdir()  # a folder is in the way
    with pytest.raises(OSError, match=r"directory: .*a\.nii'"):
        write_both(tmp_path)
    assert files_in(tmp_path) == ["a.nii"]


def test_if_a_companion_cannot_get_its_name_an_older_mask_stays(tmp_path):
    (tmp_path / "a.nii").write_text("old")
    (tmp_path / "a.json").mkdir()
    with pytest.raises(OSError, match=r"directory: .*a\.json'"):
        write_both(tmp_path)
    assert (tmp_path / "a.nii").read_text() == "old"
    assert files_in(tmp_path) == ["a.json", "a.nii"]


def test_a_missing_folder_is_named_by_the_file_that_was_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none/a\.csv"):
        write_text(tmp_path / "none" / "a.csv", "x")


def test_a_disk_with_room_has_nothing_to_say(tmp_path):
    ask_disk(tmp_path / "a.nii")
    assert files_in(tmp_path) == []
