"""What is known in world space comes back exactly on the native grid."""

import errno
import gzip
import os
import struct
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Invertd

from tests.data.files import image, label, save
from volseg.data import geometry
from volseg.data.geometry import Grid, to_native_grid, verify_mask, write_mask
from volseg.data.pipelines import preprocessing
from volseg.data.volumes import read_volume
from volseg.errors import DataError, GeometryError

ORIENTATIONS = [
    np.eye(3)[list(order)] * np.array(signs)[:, None]
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3))
]

SHAPE = (5, 6, 7)

SPACING = np.array([0.7, 1.3, 2.9])


def turn(degrees, axis=2):
    """Give a rotation about an axis."""
    angle = np.deg2rad(degrees)
    first, second = [other for other in range(3) if other != axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


def affine_of(axes, spacing=SPACING, centre=(11.0, -7.0, 3.0), shape=SHAPE):
    """Give the affine of a grid with these axes whose middle lies at ``centre``."""
    affine = np.eye(4)
    affine[:3, :3] = axes @ np.diag(spacing)
    affine[:3, 3] = np.array(centre) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def one_hot(labels, num_classes=3):
    """Give probabilities that are certain."""
    return torch.stack([torch.from_numpy(labels == k).float() for k in range(num_classes)])


def world(grid):
    """Give the place of each voxel, ``(X, Y, Z, 3)``, in mm."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    return index @ grid.affine[:3, :3].T + grid.affine[:3, 3]


DIRECTION = np.array([0.36, 0.48, 0.8])


def plane(grid):
    """Give the signed distance, in mm, of each voxel from a plane through the common centre."""
    return (world(grid) - [11.0, -7.0, 3.0]) @ DIRECTION - 0.1234


def segment_by_plane(native, network, **options):
    """Let a network say of its own grid on which side of the plane a voxel lies."""
    # linear functions are interpolated without error, so that every voxel has one right answer
    logits = torch.from_numpy(np.stack([np.zeros(network.shape), plane(network)]))
    return to_native_grid(logits, network.affine, native, **options)


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_random_labels_come_back_voxel_by_voxel_from_any_of_48_orientations(axes):
    labels = np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)
    native = nib.Nifti1Image(labels, affine_of(axes))
    network = nib.as_closest_canonical(native)  # nibabel reorients to RAS
    found = to_native_grid(
        one_hot(np.asarray(network.dataobj)), network.affine, Grid(SHAPE, native.affine)
    )
    assert found.dtype == np.uint8
    assert np.array_equal(found, labels)


@pytest.mark.parametrize("axes", ORIENTATIONS)
@pytest.mark.parametrize("degrees", [0, 17])
def test_a_plane_in_the_world_divides_any_grid_where_it_should(axes, degrees):
    native = Grid(SHAPE, affine_of(turn(degrees, 0) @ turn(degrees, 2) @ axes))
    network = Grid((30, 30, 30), affine_of(np.eye(3), (1.1, 0.9, 1.0), shape=(30, 30, 30)))
    distance = plane(native)
    assert np.abs(distance).min() > 1e-4  # no voxel lies on the plane itself
    assert np.array_equal(segment_by_plane(native, network), distance > 0)


@settings(max_examples=30, deadline=None)
@given(
    degrees=st.tuples(*[st.floats(-80, 80)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    slab=st.integers(1, 10),
)
def test_oblique_anisotropic_and_one_slice_grids_are_divided_where_they_should(
    degrees, spacing, shape, slab
):
    axes = turn(degrees[0], 0) @ turn(degrees[1], 1) @ turn(degrees[2], 2)
    native = Grid(shape, affine_of(axes, spacing, shape=shape))
    network = Grid((40, 40, 40), affine_of(turn(5), (2.5, 2.4, 2.6), shape=(40, 40, 40)))
    distance = plane(native)
    clear = np.abs(distance) > 1e-3  # 32-bit coordinates on a grid of 100 mm
    found = segment_by_plane(native, network, slab=slab)
    assert np.array_equal(found[clear], distance[clear] > 0)


def test_a_sheared_grid_is_divided_where_it_should_be():
    axes = np.array([[1, 0.4, 0], [0, 1, 0.2], [0, 0, 1]])
    native = Grid(SHAPE, affine_of(axes))
    network = Grid((30, 30, 30), affine_of(np.eye(3), (1, 1, 1), shape=(30, 30, 30)))
    assert np.array_equal(segment_by_plane(native, network), plane(native) > 0)


@pytest.mark.parametrize("slab", [1, 2, 3, 4, 100])
def test_the_slab_does_not_matter(slab):
    native = Grid(SHAPE, affine_of(turn(30)))
    network = Grid((9, 9, 9), affine_of(np.eye(3), (1.5, 1.5, 3), shape=(9, 9, 9)))
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 9, 9, 9)))
    expected = to_native_grid(logits, network.affine, native, slab=5)
    assert np.array_equal(to_native_grid(logits, network.affine, native, slab=slab), expected)


def test_labels_are_never_interpolated():
    # between classes 1 and 3 lies no class 2, though the mean of their values is 2
    logits = torch.zeros(4, 2, 1, 1)
    logits[1, 0], logits[3, 1] = 1, 1
    fine = Grid((9, 1, 1), np.diag([1 / 8, 1, 1, 1]))
    labels = to_native_grid(logits, np.eye(4), fine).ravel()
    assert labels.tolist()[:4] == [1] * 4
    assert labels.tolist()[5:] == [3] * 4
    assert labels[4] in (1, 3)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_beyond_one_voxel_outside_lies_background(scale):
    logits = one_hot(np.ones((3, 1, 1), int), 2)
    affine = np.diag([1 / scale, 1, 1, 1])
    affine[0, 3] = -4 / scale
    native = Grid((11, 1, 1), affine)
    network = np.diag([1 / scale, 1, 1, 1])
    if scale != 1:  # not whole voxels, so that they are interpolated
        network[0, 3] = 0.3 / scale
    labels = to_native_grid(logits, network, native).ravel().tolist()
    # centres at -4 to 6 voxels; the network's at 0, 1, 2 (or 0.3, 1.3, 2.3) and one voxel around
    expected = {1.0: [-1, 0, 1, 2, 3], 0.5: [0, 1, 2, 3]}[scale]
    assert [place - 4 for place, value in enumerate(labels) if value] == expected


def test_a_grid_elsewhere_is_all_background():
    far = np.eye(4)
    far[:3, 3] = 100
    for affine in (far, far @ np.diag([1.01, 1, 1, 1])):
        assert not to_native_grid(
            one_hot(np.ones((3, 3, 3), int)), affine, Grid(SHAPE, np.eye(4))
        ).any()


def test_many_classes_need_sixteen_bits():
    logits = torch.zeros(300, 2, 1, 1)
    logits[299, 0] = logits[256, 1] = 1
    labels = to_native_grid(logits, np.eye(4), Grid((2, 1, 1), np.eye(4)))
    assert labels.dtype == np.uint16
    assert labels.ravel().tolist() == [299, 256]


def test_what_cannot_be_inverted_is_refused():
    logits = one_hot(np.ones(SHAPE, int))
    for bad in (np.diag([1.0, 1, 0, 1]), np.full((4, 4), np.nan), np.ones((4, 4)), np.eye(3)):
        with pytest.raises(GeometryError, match="cannot be inverted"):
            to_native_grid(logits, bad, Grid(SHAPE, np.eye(4)))
        with pytest.raises(GeometryError, match="cannot be inverted"):
            to_native_grid(logits, np.eye(4), Grid(SHAPE, bad))
    with pytest.raises(GeometryError, match=r"use \(K, X, Y, Z\) and \(X, Y, Z\)"):
        to_native_grid(logits[0], np.eye(4), Grid(SHAPE, np.eye(4)))
    with pytest.raises(GeometryError, match=r"use \(K, X, Y, Z\) and \(X, Y, Z\)"):
        to_native_grid(logits, np.eye(4), Grid((5, 6), np.eye(4)))


@pytest.mark.real
@pytest.mark.parametrize(
    "name", ["brain_mri/monai_anatomical.nii", "Task04_Hippocampus/imagesTr/hippocampus_011.nii.gz"]
)
def test_the_inverse_of_monai_agrees_on_a_real_volume(shared_data, name):
    path = shared_data / name
    pipeline = preprocessing(("image",), (3.0, 3.5, 4.0))
    case = pipeline({"image": str(path)})
    picture = case["image"].as_tensor()[0]
    case["pred"] = MetaTensor(torch.stack([0 * picture, picture, -picture - 0.5]))
    inverse = Invertd("pred", pipeline, orig_keys="image", nearest_interp=False)
    theirs = inverse(dict(case))["pred"].as_tensor().argmax(0).numpy()
    values, affine, _ = read_volume(path)
    ours = to_native_grid(case["pred"], case["image"].affine, Grid(values.shape, affine))
    # MONAI goes through two resamplings of float32; a voxel on a border between classes may tip.
    # It also goes on for ever outside, where we stop after a voxel of the network's grid.
    inner = tuple(slice(4, -4) if length > 20 else slice(None) for length in values.shape)
    assert len(np.unique(ours)) == 3
    assert (ours[inner] != theirs[inner]).mean() < 1e-4
    assert (ours != theirs).mean() < 0.02


SPATIAL_BYTES = {
    "pixdim[0:4]": (76, 92),
    "xyzt_units": (123, 124),
    "qform_code and sform_code": (252, 256),
    "quatern and qoffset": (256, 280),
    "srow": (280, 328),
}
"""Where NIfTI-1 keeps what says where voxels lie (nifti1.h)."""


def stored(path):
    """Read the bytes of a file, unpacked."""
    content = path.read_bytes()
    return gzip.decompress(content) if path.name.endswith(".gz") else content


def save_with_codes(path, sform_code, qform_code, units=10):
    """Write an image whose sform and qform differ, with these codes; give its path."""
    volume = nib.Nifti1Image(image(SHAPE), None)
    volume.header.set_sform(affine_of(turn(10)), code=1)
    volume.header.set_qform(affine_of(turn(20), (0.7, 1.3, 2.9)), code=1)
    volume.header["xyzt_units"] = units
    nib.save(volume, path)
    content = bytearray(stored(path))
    content[252:256] = struct.pack("<2h", qform_code, sform_code)
    path.write_bytes(gzip.compress(bytes(content)) if path.name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize("codes", list(product(range(3), range(3))))
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_mask_says_of_space_what_its_image_says_bit_for_bit(tmp_path, codes, ending):
    source = save_with_codes(tmp_path / f"image{ending}", *codes, units=codes[0] * 8 + 2)
    labels = np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)
    write_mask(tmp_path / "mask.nii.gz", labels, source, {0: "background", 1: "grey"})
    verify_mask(tmp_path / "mask.nii.gz", source)
    ours, theirs = stored(tmp_path / "mask.nii.gz"), stored(source)
    for name, (first, last) in SPATIAL_BYTES.items():
        assert ours[first:last] == theirs[first:last], name
    mask = nib.load(tmp_path / "mask.nii.gz")
    assert np.array_equal(mask.affine, nib.load(source).affine)
    assert np.array_equal(np.asanyarray(mask.dataobj), labels)


def test_a_mask_is_8_bit_without_scaling_and_names_its_classes(tmp_path):
    source = save(tmp_path / "a.nii.gz", label().astype(np.int16))
    volume = nib.load(source)
    volume.header.set_slope_inter(0.1, -1100)
    volume.header["cal_max"] = 99
    nib.save(volume, source)
    write_mask(tmp_path / "m.nii", label(), source, {0: "background", 1: "grüne", 2: "x" * 90})
    content = stored(tmp_path / "m.nii")
    datatype, bits = struct.unpack("<2h", content[70:74])
    slope, offset = struct.unpack("<2f", content[112:120])
    assert (datatype, bits) == (2, 8)  # DT_UINT8
    assert slope in (0, 1)  # both mean: as stored
    assert offset == 0
    assert content[148:228].startswith(b"volseg: 0 background, 1 gr?ne, 2 xxx")
    assert np.array_equal(read_volume(tmp_path / "m.nii")[0], label())


def test_labels_above_255_take_16_bits(tmp_path):
    source = save(tmp_path / "a.nii.gz", image())
    labels = label().astype(np.int64) * 300
    write_mask(tmp_path / "m.nii.gz", labels, source)
    verify_mask(tmp_path / "m.nii.gz", source)
    assert nib.load(tmp_path / "m.nii.gz").get_data_dtype() == np.uint16
    assert np.array_equal(read_volume(tmp_path / "m.nii.gz")[0], labels)


def test_an_image_with_a_fourth_axis_of_one_gets_a_3d_mask(tmp_path):
    source = save(tmp_path / "a.nii.gz", image()[..., None])
    write_mask(tmp_path / "m.nii.gz", label(), source, ["background", "front", "back"])
    verify_mask(tmp_path / "m.nii.gz", source)
    assert nib.load(tmp_path / "m.nii.gz").shape == (6, 7, 8)


def test_big_endian_and_nifti_2_images_get_masks_of_their_kind(tmp_path):
    volume = nib.Nifti1Image(image(), affine_of(turn(10)))
    big = nib.Nifti1Image(image(), None, volume.header.as_byteswapped(">"))
    nib.save(big, tmp_path / "big.nii")
    second = nib.Nifti2Image(image(), affine_of(turn(10)))
    nib.save(second, tmp_path / "second.nii")
    for name in ("big.nii", "second.nii"):
        write_mask(tmp_path / f"mask_{name}", label(), tmp_path / name)
        verify_mask(tmp_path / f"mask_{name}", tmp_path / name)
        mask = nib.load(tmp_path / f"mask_{name}")
        assert np.array_equal(mask.affine, nib.load(tmp_path / name).affine)
        assert np.array_equal(np.asanyarray(mask.dataobj), label())
    assert isinstance(nib.load(tmp_path / "mask_second.nii"), nib.Nifti2Image)


def test_labels_of_another_grid_or_range_are_not_written(tmp_path):
    source = save(tmp_path / "a.nii.gz", image())
    with pytest.raises(GeometryError, match=r"mask is \(6, 7, 7\) voxels and its image"):
        write_mask(tmp_path / "m.nii.gz", label((6, 7, 7)), source)
    for value in (-1, 65536):
        with pytest.raises(DataError, match="a mask holds 0 to 65535"):
            write_mask(tmp_path / "m.nii.gz", np.full((6, 7, 8), value), source)
    assert list(tmp_path.iterdir()) == [source]


def test_a_full_disk_leaves_the_old_mask_and_nothing_else(tmp_path, monkeypatch):
    source = save(tmp_path / "a.nii.gz", image())
    target = tmp_path / "m.nii.gz"
    target.write_bytes(b"an older mask")

    def refuse(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(geometry.os, "fsync", refuse)
    with pytest.raises(OSError, match=r"No space left on device: .*m\.nii\.gz") as error:
        write_mask(target, label(), source)
    assert error.value.errno == errno.ENOSPC
    assert target.read_bytes() == b"an older mask"
    assert sorted(tmp_path.iterdir()) == [source, target]


CHANGES = {
    "another spacing": (76 + 4, struct.pack("<f", 2.0), "its pixdim is"),
    "another sform code": (254, struct.pack("<h", 1), "its sform_code is"),
    "another qform code": (252, struct.pack("<h", 3), "its qform_code is"),
    "another row": (280, struct.pack("<f", 2.0), "its srow_x is"),
    "other units": (123, b"\x03", "its xyzt_units is"),
    "another type": (70, struct.pack("<2h", 4, 16), "holds int16|damaged or cut off"),
    "another shape": (42, struct.pack("<h", 3), r"has shape \(3, 7, 8\)"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_mask_that_differs_from_its_image_is_found(tmp_path, name):
    source = save(tmp_path / "a.nii.gz", image())
    write_mask(tmp_path / "m.nii", label(), source)
    offset, value, message = CHANGES[name]
    content = bytearray(stored(tmp_path / "m.nii"))
    content[offset : offset + len(value)] = value
    (tmp_path / "m.nii").write_bytes(content + bytes(400))
    with pytest.raises((GeometryError, DataError), match=message):
        verify_mask(tmp_path / "m.nii", source)


@pytest.mark.real
@pytest.mark.parametrize("name", ["16_no_affine_codes.nii.gz", "10_uint16_scl_slope.nii.gz"])
def test_real_headers_are_taken_over(shared_data, tmp_path, name):
    source = shared_data / "hostile" / name
    labels = (read_volume(source)[0] > 100).astype(np.uint8)
    write_mask(tmp_path / name, labels, source)
    verify_mask(tmp_path / name, source)
    ours, theirs = stored(tmp_path / name), stored(source)
    assert all(ours[slice(*span)] == theirs[slice(*span)] for span in SPATIAL_BYTES.values())
