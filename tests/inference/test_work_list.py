"""Which masks a run would write, and what is refused before it starts."""

from pathlib import Path

import pytest

from volseg.errors import DataError
from volseg.inference import work_list
from volseg.inference.work_list import list_jobs, require_writable


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_a_folders_tree_is_mirrored_and_masks_are_compressed(tmp_path):
    touch(tmp_path / "in", "b.nii", "site/a.nii.gz", "notes.txt", "._b.nii", ".trash/c.nii")
    (tmp_path / "in" / "folder.nii").mkdir()
    jobs = list_jobs([tmp_path / "in"], tmp_path / "out")
    assert [(job.name, job.source, job.target) for job in jobs] == [
        ("b", tmp_path / "in/b.nii", tmp_path / "out/b.nii.gz"),
        ("site/a", tmp_path / "in/site/a.nii.gz", tmp_path / "out/site/a.nii.gz"),
    ]


def test_a_name_keeps_every_character(tmp_path):
    name = "15_Zoë Müller – тест №1 (копия).v2.nii.gz"  # noqa: RUF001  a dash as in the real file
    touch(tmp_path / "in", name)
    (job,) = list_jobs([tmp_path / "in" / name], tmp_path / "out")
    assert job.target.name == name


def test_a_file_that_is_named_is_taken_whatever_its_ending(tmp_path):
    touch(tmp_path / "in", "a.nrrd")
    (job,) = list_jobs([tmp_path / "in/a.nrrd"], tmp_path / "out")
    assert job.target == tmp_path / "out/a.nii.gz"


def test_an_image_named_twice_is_segmented_once(tmp_path):
    folder = touch(tmp_path / "in", "a.nii.gz", "b.nii.gz")
    jobs = list_jobs([folder / "b.nii.gz", folder], tmp_path / "out")
    assert [job.name for job in jobs] == ["b", "a"]


def test_two_images_that_would_write_one_mask_are_both_named(tmp_path):
    touch(tmp_path, "one/a.nii.gz", "two/a.nii")
    with pytest.raises(DataError) as error:
        list_jobs([tmp_path / "one", tmp_path / "two/a.nii"], tmp_path / "out")
    assert str(tmp_path / "one/a.nii.gz") in str(error.value)
    assert str(tmp_path / "two/a.nii") in str(error.value)


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        (["absent.nii.gz"], "out", "absent.nii.gz does not exist"),
        (["empty"], "out", "empty holds no image"),
        (["set"], "out", "dataset.json cannot be read as JSON"),
        (["in"], "in/masks", "lies in the input folder"),
        (["in"], "in", "lies in the input folder"),
        (["in/a.nii.gz"], "in", "is an input and would be replaced"),
        (
            ["in/a.nii.gz"],
            "full",
            "full/a.nii.gz exists already; resume the run, allow overwriting",
        ),
        (["in"], "full", "full/a.nii.gz and 1 more masks exist already"),
    ],
)
def test_what_would_go_wrong_is_refused(tmp_path, inputs, output, message):
    touch(tmp_path, "in/a.nii.gz", "in/b.nii.gz", "full/a.nii.gz", "full/b.nii.gz", "empty/a.txt")
    touch(tmp_path, "set/dataset.json", "set/labelsTr/a.nii.gz")
    with pytest.raises(DataError, match=message):
        list_jobs([tmp_path / name for name in inputs], tmp_path / output)


def test_an_input_is_not_replaced_even_with_overwriting(tmp_path):
    touch(tmp_path, "in/a.nii.gz")
    with pytest.raises(DataError, match="is an input"):
        list_jobs([tmp_path / "in/a.nii.gz"], tmp_path / "in", overwrite=True)


def test_masks_may_be_replaced_when_that_is_allowed(tmp_path):
    touch(tmp_path, "in/a.nii.gz", "out/a.nii.gz")
    assert len(list_jobs([tmp_path / "in"], tmp_path / "out", overwrite=True)) == 1


def test_a_folder_that_takes_files_is_made_and_left_empty(tmp_path):
    require_writable(tmp_path / "deep" / "out")
    assert list((tmp_path / "deep" / "out").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    touch(tmp_path, "file")
    with pytest.raises(DataError, match=r"cannot write to .*out: Not a directory"):
        require_writable(tmp_path / "file" / "out")


def test_a_folder_on_a_read_only_disk_is_refused(tmp_path, monkeypatch):
    def refuse(dir):  # noqa: A002  the name that tempfile gives it
        assert Path(dir) == tmp_path
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(work_list, "TemporaryFile", refuse)
    with pytest.raises(DataError, match="Read-only file system"):
        require_writable(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full disk to offer")
def test_a_full_disk_is_refused_though_files_can_be_made(tmp_path, monkeypatch):
    def open_full(dir):  # noqa: A002  the name that tempfile gives it
        return Path("/dev/full").open("wb")

    monkeypatch.setattr(work_list, "TemporaryFile", open_full)
    with pytest.raises(DataError, match="No space left on device"):
        require_writable(tmp_path)
