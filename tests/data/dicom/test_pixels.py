"""The numbers of a slice are those that were meant, however they are stored."""

import sys
import warnings

import gdcm
import numpy as np
import pytest
from pydicom.pixels import get_decoder
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
)

from tests.data.dicom.files import along, dataset, noise, save, save_series, tagged
from volseg.data.dicom.volume import INVERTED, read_series
from volseg.errors import DataError

PLACES = along(6, (0, 0, 2))


def values_of(folder, volume, **tags):
    """Write a series and read it; give its values."""
    return read_series(save_series(folder, volume, PLACES, **tags))[0]


def refuse(path, message):
    """Expect one line that names the file and matches."""
    with pytest.raises(DataError, match=message) as caught:
        read_series([path])
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_each_slice_is_rescaled_by_its_own_numbers(tmp_path):
    slopes, intercepts = [1, 2, 1, 3, 1, 1], [0, -5, -1024, 7, 100, 0]
    found = values_of(tmp_path, noise(), RescaleSlope=slopes, RescaleIntercept=intercepts)
    assert np.array_equal(found, noise() * slopes + intercepts)
    assert found.dtype == np.int32  # 16 bits times 3 do not fit into 16


def test_a_fraction_makes_floats(tmp_path):
    found = values_of(tmp_path, noise(), RescaleSlope=[1, 0.25, 1, 0.1, 1, 1], RescaleIntercept=0.5)
    assert found.dtype == np.float32
    assert np.allclose(found, noise() * np.array([1, 0.25, 1, 0.1, 1, 1]) + 0.5, rtol=1e-6)


def test_an_empty_rescale_is_none(tmp_path):
    assert np.array_equal(
        values_of(tmp_path, noise(), RescaleSlope="", RescaleIntercept=""), noise()
    )


@pytest.mark.parametrize(
    ("low", "high", "bits", "sign", "kind"),
    [
        (-2048, 2048, 12, 1, np.int16),
        (0, 4096, 12, 0, np.int16),
        (-32768, 32768, 16, 1, np.int16),
        (0, 65536, 16, 0, np.int32),
    ],
)
def test_signs_and_numbers_of_bits_are_kept(tmp_path, low, high, bits, sign, kind):
    wanted = np.random.default_rng(0).integers(low, high, (4, 5, 6))
    wanted.flat[:2] = low, high - 1
    stored = wanted.astype(np.int16 if sign else np.uint16)
    found = values_of(tmp_path, stored, BitsStored=bits)
    assert np.array_equal(found, wanted)
    assert found.dtype == kind


def test_an_overlay_in_the_bits_above_is_no_value(tmp_path):
    stored = noise().astype(np.uint16)
    found = values_of(tmp_path, stored | 0xF000, BitsStored=12)
    assert np.array_equal(found, stored)


def test_large_and_dark_is_turned_round(tmp_path):
    tags = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12}
    stored = noise().astype(np.uint16)
    paths = save_series(tmp_path, stored, PLACES, Modality="MR", **tags)
    values, _, found = read_series(paths)
    assert np.array_equal(values, 4095 - stored.astype(int))  # 12 bits reach from 0 to 4095
    assert found == [INVERTED]
    signed = values_of(tmp_path, noise(), Modality="MR", **tags)
    assert np.array_equal(signed, -1 - noise())  # from -2048 to 2047


@pytest.mark.parametrize("modality", ["CT", "PT"])
def test_quantities_stay_whatever_is_dark(tmp_path, modality):
    tags = {"PhotometricInterpretation": "MONOCHROME1", "Modality": modality}
    values, _, found = read_series(
        save_series(tmp_path, noise(), PLACES, RescaleIntercept=-1024, RescaleSlope=1, **tags)
    )
    assert np.array_equal(values, noise() - 1024)
    assert found == []


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_every_plain_syntax_is_read(tmp_path, syntax):
    assert np.array_equal(values_of(tmp_path, noise(), syntax=syntax), noise())


def test_big_endian_is_read(tmp_path):
    swapped = {
        "PixelData": [noise()[:, :, k].T.astype(">i2").tobytes() for k in range(6)],
        "syntax": ExplicitVRBigEndian,
    }
    assert np.array_equal(values_of(tmp_path, noise(), **swapped), noise())


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize("low", [0, -900])
def test_lossless_compression_changes_nothing(tmp_path, syntax, low):
    volume = noise((32, 40, 3), low=low)
    paths = []
    for k, place in enumerate(along(3, (0, 0, 2))):
        made = dataset(volume[:, :, k], place)
        made.compress(syntax, generate_instance_uid=False)
        paths.append(save(made, tmp_path / f"{k}"))
    assert np.array_equal(read_series(paths)[0], volume)


def compress_by_gdcm(path, syntax):
    """Compress a file where it lies."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return path


@pytest.mark.parametrize(
    "syntax",
    [gdcm.TransferSyntax.JPEGLosslessProcess14_1, gdcm.TransferSyntax.JPEGLSLossless],
)
def test_the_lossless_jpeg_of_archives_changes_nothing(tmp_path, syntax):
    volume = noise((16, 20, 6), high=4096).astype(np.uint16)
    paths = save_series(tmp_path, volume, PLACES, BitsStored=12)
    for path in paths:
        compress_by_gdcm(path, syntax)
    assert np.array_equal(read_series(paths)[0], volume)


def test_a_missing_decoder_is_named(tmp_path):
    (path,) = save_series(tmp_path, noise(), PLACES[:1])
    compress_by_gdcm(path, gdcm.TransferSyntax.JPEGLosslessProcess14_1)
    decoder = get_decoder(JPEGLosslessSV1)
    plugins = {
        name: ("pydicom.pixels.decoders." + name, "_decode_frame")
        for name in decoder.available_plugins
    }
    assert list(plugins) == ["gdcm"]
    decoder.remove_plugin("gdcm")
    try:
        refuse(path, r"compressed as JPEG Lossless.* decoder is missing; run: pip install 'volseg")
    finally:
        decoder.add_plugin("gdcm", plugins["gdcm"])
    assert np.array_equal(read_series([path])[0], noise()[:, :, :1])


def test_a_film_is_refused_by_name(tmp_path):
    made = dataset(noise()[:, :, 0], PLACES[0])
    made.compress(RLELossless, generate_instance_uid=False)
    made.file_meta.TransferSyntaxUID = MPEG2MPML
    refuse(save(made, tmp_path / "a.dcm"), "is compressed as MPEG2 .*, which is not read")


REFUSED = {
    "colour": ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, r"colours \(RGB\)"),
    "palette": ({"PhotometricInterpretation": "PALETTE COLOR"}, r"holds colours \(PALETTE COLOR\)"),
    "shifted bits": ({"BitsStored": 12, "HighBit": 15}, "stores its 12 bits up to bit 15"),
    "slope of 0": ({"RescaleSlope": 0}, "scales its values by 0 and adds 0; correct"),
    "no pixels": ({"PixelData": None}, "has no pixel data"),
    "few pixels": ({"PixelData": b"\0" * 20}, "is damaged or cut off"),
    "no rows": ({"Rows": None}, r"holds no image \(CT\)"),
    "nowhere": ({"ImagePositionPatient": None}, "has no ImagePositionPatient"),
    "empty place": ({"ImagePositionPatient": ()}, "has no ImagePositionPatient|finite numbers"),
    "one number": ({"ImagePositionPatient": 4}, r"ImagePositionPatient 4\.0; 3 finite numbers"),
    "no direction": ({"ImageOrientationPatient": None}, "has no ImageOrientationPatient"),
    "no spacing": ({"PixelSpacing": None}, "has no PixelSpacing"),
    "flat": ({"PixelSpacing": (0, 1)}, "has a PixelSpacing of 0 x 1 mm"),
    "skewed": ({"ImageOrientationPatient": (1, 0, 0, 0.5, 0.9, 0)}, "no two unit vectors"),
    "no bits": ({"BitsStored": None, "HighBit": 15}, "has a damaged header"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_placed_grey_image_is_refused_in_one_line(tmp_path, name):
    tags, message = REFUSED[name]
    (path,) = save_series(tmp_path, noise(), PLACES[:1], **tags)
    refuse(path, message)


def test_a_table_of_values_is_refused(tmp_path):
    made = dataset(noise()[:, :, 0], PLACES[0], ModalityLUTSequence=[tagged(LUTExplanation="x")])
    refuse(save(made, tmp_path / "a.dcm"), r"by a table \(Modality LUT\)")


@pytest.mark.parametrize("place", ["nan", "inf", "1,5"])
def test_numbers_that_are_none_are_refused(tmp_path, place):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (path,) = save_series(tmp_path, noise(), [(0, 0, 123456)])
    content = path.read_bytes()
    assert content.count(b"123456") == 1
    path.write_bytes(content.replace(b"123456", place.encode().ljust(6)))
    refuse(path, "finite numbers are needed|damaged header")


def test_a_number_of_three_bytes_is_refused(tmp_path):
    (path,) = save_series(tmp_path, noise(), PLACES[:1])
    rows = b"\x28\x00\x10\x00US\x02\x00\x05\x00"
    content = path.read_bytes()
    assert content.count(rows) == 1
    path.write_bytes(content.replace(rows, rows[:6] + b"\x03\x00\x05\x00\x00"))
    refuse(path, r"damaged header \(.* even multiple")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.99])
def test_a_file_cut_off_anywhere_is_refused(tmp_path, share):
    (path,) = save_series(tmp_path, noise(), PLACES[:1])
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refuse(path, "damaged|cut off|holds no image|has no|not a readable")


def test_empty_and_renamed_files_are_refused(tmp_path):
    path = tmp_path / "a.dcm"
    path.touch()
    refuse(path, "is empty")
    path.write_text("This is a text. " * 30)
    refuse(path, "lacks the letters DICM")


def test_a_file_without_a_preamble_is_read(tmp_path):
    paths = save_series(tmp_path, noise(), PLACES, syntax=ImplicitVRLittleEndian)
    for path in paths:
        content = path.read_bytes()
        start = content.index(b"\x08\x00\x16\x00")  # (0008,0016): the first tag of the data
        path.write_bytes(content[start:])
    assert np.array_equal(read_series(paths)[0], noise())


def test_without_pydicom_one_line_says_what_to_install(tmp_path, monkeypatch):
    (path,) = save_series(tmp_path, noise(), PLACES[:1])
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataError, match=r"pip install 'volseg\[dicom\]'"):
        read_series([path])
