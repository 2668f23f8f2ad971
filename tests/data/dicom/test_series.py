"""Which files of a folder make one volume."""

import contextlib
import logging

import numpy as np
import pytest
from pydicom.uid import generate_uid

from tests.data.dicom.files import along, dataset, enhanced, noise, save, save_series
from volseg.data.dicom.series import find_series
from volseg.data.reading import Source, read_source, source_of
from volseg.errors import DataError

PLACES = along(6, (0, 0, 2))


def names_and_counts(folder):
    return {source.name: len(source.files) for source in find_series(folder)}


def test_a_folder_of_one_series_is_one_source(tmp_path):
    paths = save_series(tmp_path / "head", noise(), PLACES)
    assert find_series(tmp_path / "head") == [Source("head", tuple(paths), "dicom")]
    source = source_of(tmp_path / "head")
    assert source == Source("head", tuple(paths), "dicom")
    assert source_of(tmp_path / "head", "p1/t1").name == "p1/t1"
    reading = read_source(source)
    assert np.array_equal(reading.values, noise())
    assert reading.files == tuple(paths)


def test_a_source_in_any_order_gives_the_file_of_each_slice(tmp_path):
    paths = save_series(tmp_path, noise(), PLACES)
    reading = read_source(Source("a", tuple(paths[::-1]), "dicom"))
    assert reading.files == tuple(paths)
    assert reading.source.files == tuple(paths[::-1])


def test_the_frames_of_one_file_are_the_slices_of_that_file(tmp_path):
    path = save(enhanced(noise(), PLACES), tmp_path / "IM1")
    reading = read_source(source_of(path))
    assert reading.source == Source("IM1", (path,), "dicom")
    assert reading.files == (path,) * 6


@pytest.mark.parametrize(("file", "name"), [("a.dcm", "a"), ("b.IMA", "b"), ("1.2.3", "1.2.3")])
def test_a_lone_file_is_called_as_it_is_without_an_ending_of_dicom(tmp_path, file, name):
    path = save(dataset(noise()[:, :, 0], PLACES[0]), tmp_path / file)
    assert source_of(path) == Source(name, (path,), "dicom")


def test_series_in_a_tree_are_called_after_their_folders(tmp_path):
    save_series(tmp_path / "p1" / "t1", noise(), PLACES, SeriesInstanceUID="1.2.1")
    save_series(tmp_path / "p1" / "t2", noise(), PLACES[:4], SeriesInstanceUID="1.2.2")
    save_series(tmp_path / "p2", noise(), PLACES[:3], SeriesInstanceUID="1.2.3")
    assert names_and_counts(tmp_path) == {"p1/t1": 6, "p1/t2": 4, "p2": 3}


def test_two_series_in_one_folder_are_told_apart(tmp_path):
    first = {"SeriesInstanceUID": "1.2.1", "SeriesNumber": 3, "SeriesDescription": "T1w (3D)"}
    second = {"SeriesInstanceUID": "1.2.2", "SeriesNumber": 12}
    numbers = [f"{k}" for k in range(12)]
    save_series(tmp_path / "p", noise(), PLACES, file=numbers[::2], **first)
    save_series(tmp_path / "p", noise(seed=1), PLACES, file=numbers[1::2], **second)
    assert names_and_counts(tmp_path) == {"p/003_T1w_3D": 6, "p/012": 6}
    assert names_and_counts(tmp_path / "p") == {"003_T1w_3D": 6, "012": 6}
    one, two = (read_source(source) for source in find_series(tmp_path))
    assert np.array_equal(one.values, noise())
    assert np.array_equal(two.values, noise(seed=1))
    with pytest.raises(DataError, match=r"holds 2 DICOM series \(003_T1w_3D, 012\); give"):
        source_of(tmp_path / "p")


def test_stacks_of_one_series_are_told_apart(tmp_path):
    save_series(tmp_path / "a", noise(), PLACES)
    sagittal = ((0, 1, 0), (0, 0, -1))
    names = [f"s{k}" for k in range(6)]
    save_series(tmp_path / "a", noise(seed=1), along(6, (-3, 0, 0)), sagittal, file=names)
    small = noise((3, 3, 2))
    save_series(tmp_path / "a", small, along(2, (0, 0, 2)), file=["x", "y"])
    fine = {"PixelSpacing": (0.5, 0.5), "file": ["z1", "z2", "z3"]}
    save_series(tmp_path / "a", noise((4, 5, 3)), along(3, (0, 0, 2)), **fine)
    assert names_and_counts(tmp_path) == {"a/002": 6, "a/002_2": 6, "a/002_3": 2, "a/002_4": 3}
    assert np.array_equal(read_source(find_series(tmp_path)[1]).values, noise(seed=1))


def test_directions_that_differ_by_rounding_are_one_stack(tmp_path):
    turned = [(1, 0, 0, 0, 1, 0), (0.99999999, 0.00001, 0, -0.00001, 0.99999999, 0)] * 3
    save_series(tmp_path / "a", noise(), PLACES, ImageOrientationPatient=turned)
    assert names_and_counts(tmp_path) == {"a": 6}


def test_a_series_over_several_folders_is_one(tmp_path):
    names = [f"part{k // 3}/{k}" for k in range(6)]
    save_series(tmp_path / "p", noise(), PLACES, file=names)
    (source,) = find_series(tmp_path)
    assert (source.name, len(source.files)) == ("p", 6)
    assert np.array_equal(read_source(source).values, noise())


def test_a_copy_of_a_series_is_another_case(tmp_path):
    identities = [generate_uid() for _ in range(6)]
    for name in ("a", "b"):
        save_series(tmp_path / name, noise(), PLACES, SOPInstanceUID=identities)
    assert names_and_counts(tmp_path) == {"a": 6, "b": 6}


def test_series_without_identifiers_are_told_apart_by_their_folders(tmp_path):
    for name in ("a", "b"):
        tags = {"SeriesInstanceUID": None, "SOPInstanceUID": [generate_uid() for _ in range(6)]}
        save_series(tmp_path / name, noise(), PLACES, **tags)
    assert names_and_counts(tmp_path) == {"a": 6, "b": 6}


def test_what_is_no_scan_is_left_out_and_named(tmp_path, caplog):
    save_series(tmp_path / "a", noise(), PLACES)
    plane = noise()[:, :, 0]
    for modality in ("SR", "RTSTRUCT", "PR"):
        bare = {"Rows": None, "Columns": None, "ImagePositionPatient": None, "PixelData": None}
        save(dataset(plane, PLACES[0], Modality=modality, **bare), tmp_path / "a" / modality)
    save(dataset(plane, PLACES[0], Modality="SEG"), tmp_path / "a" / "SEG")
    raw = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66", "Modality": "MR", **bare}
    save(dataset(plane, PLACES[0], **raw), tmp_path / "a" / "raw")
    shot = {"Modality": "XC", "ImagePositionPatient": None, "ImageOrientationPatient": None}
    save(dataset(plane, PLACES[0], **shot), tmp_path / "a" / "screenshot")
    scout = {"ImageType": ("ORIGINAL", "PRIMARY", "LOCALIZER"), "SeriesInstanceUID": "1.2.9"}
    save_series(tmp_path / "scouts", noise(), PLACES[:2], **scout)
    bare = {"Modality": None, "Rows": None, "ImagePositionPatient": None}
    directory = dataset(plane, PLACES[0], SOPClassUID="1.2.840.10008.1.3.10", **bare)
    save(directory, tmp_path / "DICOMDIR")
    (tmp_path / "readme.txt").write_text("no DICOM")
    save(dataset(plane, PLACES[0]), tmp_path / "a" / ".hidden")
    with caplog.at_level(logging.INFO, logger="volseg"):
        assert names_and_counts(tmp_path) == {"a": 6}
    (message,) = caplog.messages
    assert message == (
        f"{tmp_path}: left out 1 DICOMDIR, 1 PR, 1 RTSTRUCT, 1 Raw Data Storage, 1 SEG, 1 SR,"
        " 1 XC without a place in space, 2 localiser"
    )


def test_a_damaged_file_spoils_the_series_beside_it_rather_than_vanish(tmp_path):
    paths = save_series(tmp_path / "a", noise(), PLACES)
    save_series(tmp_path / "b", noise(), PLACES, SeriesInstanceUID="1.2.9")
    paths[-1].write_bytes(b"")
    (spoilt, whole) = find_series(tmp_path)
    assert (spoilt.name, len(spoilt.files)) == ("a", 6)
    with pytest.raises(DataError, match=r"005\.dcm: is empty"):
        read_source(spoilt)
    assert np.array_equal(read_source(whole).values, noise())


def test_a_damaged_header_spoils_its_own_series(tmp_path):
    paths = save_series(tmp_path / "a", noise(), PLACES, SeriesInstanceUID="1.2.1")
    others = [f"x{k}" for k in range(6)]
    save_series(tmp_path / "a", noise(), PLACES, SeriesInstanceUID="1.2.2", file=others)
    plane = dataset(noise()[:, :, 0], PLACES[0], SeriesInstanceUID="1.2.1")
    del plane.ImagePositionPatient
    save(plane, paths[0])
    spoilt, whole = find_series(tmp_path)
    assert paths[0] in spoilt.files
    with pytest.raises(DataError, match=r"000\.dcm: has no ImagePositionPatient"):
        read_source(spoilt)
    assert np.array_equal(read_source(whole).values, noise())


def test_a_damaged_header_spoils_its_own_series_from_another_folder(tmp_path):
    save_series(tmp_path / "a", noise(), PLACES, SeriesInstanceUID="1.2.1")
    save_series(tmp_path / "b", noise(), PLACES, SeriesInstanceUID="1.2.2")
    tags = {"SeriesInstanceUID": "1.2.1", "ImagePositionPatient": None}
    lost = save(dataset(noise()[:, :, 0], PLACES[0], **tags), tmp_path / "b" / "x.dcm")
    spoilt = [source for source in find_series(tmp_path) if lost in source.files]
    assert [len(source.files) for source in spoilt] == [7]
    assert tmp_path / "a" / "000.dcm" in spoilt[0].files


def test_a_damaged_file_alone_is_a_source_that_cannot_be_read(tmp_path):
    (tmp_path / "a.dcm").write_text("This is a text. " * 30)
    (source,) = find_series(tmp_path)
    with pytest.raises(DataError, match=r"a\.dcm: is not a readable DICOM file"):
        read_source(source)


def test_a_folder_without_series_is_refused(tmp_path):
    assert find_series(tmp_path) == []
    with pytest.raises(DataError, match="holds no DICOM series"):
        source_of(tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        find_series(tmp_path / "absent")
    with pytest.raises(DataError, match="does not exist"):
        source_of(tmp_path / "absent")


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_damaged_no_file_is_lost_and_nothing_but_a_refusal_is_raised(tmp_path, seed):
    paths = save_series(tmp_path / "a", noise(), PLACES)
    random = np.random.default_rng(seed)
    content = bytearray(paths[2].read_bytes())
    for place in random.integers(132, len(content), 1 + seed % 8):
        content[place] = random.integers(256)
    paths[2].write_bytes(bytes(content))
    found = find_series(tmp_path)
    assert sorted(file for source in found for file in source.files) == paths
    for source in found:
        with contextlib.suppress(DataError):
            assert read_source(source).values.ndim == 3


@pytest.mark.real
def test_the_real_series_are_found(shared_data, caplog):
    with caplog.at_level(logging.INFO, logger="volseg"):
        found = names_and_counts(shared_data / "dicom")
    assert found == {
        "sts_008_MR_T1/image": 28,
        "torchio_head": 17,
        "totalsegmentator_ct_jpeg2000": 20,
    }
    assert caplog.messages == [f"{shared_data / 'dicom'}: left out 1 RTSTRUCT"]
