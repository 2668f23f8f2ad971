"""A brain is found in scans of any contrast, and halved where it is symmetric."""

import nibabel
import numpy as np
import pytest
import torch

from tests.transforms.resection.heads import make_head
from volseg.errors import DataError, GeometryError
from volseg.transforms.anatomy.estimate import estimate_brain
from volseg.transforms.anatomy.from_image import anatomy_from_brain, anatomy_from_image
from volseg.transforms.anatomy.maps import Tissue
from volseg.transforms.anatomy.plane import find_symmetry_plane
from volseg.transforms.anatomy.surface import Brightness, Surface, fill, sphere, swell
from volseg.transforms.mirror import midline_of

T1 = {Tissue.HEAD: 110, Tissue.SKULL: 8, Tissue.FLUID: 30, Tissue.VENTRICLE: 30}
T2 = {Tissue.HEAD: 60, Tissue.SKULL: 8, Tissue.FLUID: 160, Tissue.VENTRICLE: 160}
GREY = (Tissue.CORTEX, Tissue.DEEP, Tissue.LIMBIC, Tissue.CEREBELLUM_CORTEX)
WHITE = (Tissue.WHITE, Tissue.CALLOSUM, Tissue.BRAINSTEM, Tissue.CEREBELLUM_WHITE)


def paint(head, outside, grey, white):
    """Give a scan of a head, with a little noise."""
    table = torch.zeros(14)
    for tissue, value in outside.items():
        table[tissue] = value
    table[[int(each) for each in GREY]] = float(grey)
    table[[int(each) for each in WHITE]] = float(white)
    image = table[head.tissue.long()]
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    return (image + 3 * noise).clamp(min=0)


def dice(first, second):
    """Give the overlap of two masks."""
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


@pytest.fixture(scope="module")
def head():
    """Give a whole head made of ellipsoids."""
    return make_head(spacing=(3.0, 3.0, 3.0))


@pytest.mark.parametrize("colours", [(T1, 75, 105), (T2, 90, 60)], ids=["T1", "T2"])
def test_the_brain_of_a_whole_head_is_found(head, colours):
    brain = estimate_brain(paint(head, *colours), head.affine)
    assert dice(brain, head.depth > 0) > 0.9


def test_a_scan_without_skull_is_its_own_mask(head):
    image = paint(head, T1, 75, 105)
    image[head.depth == 0] = 0
    image -= 3.5  # the background of some scans is their minimum, and not 0
    brain = estimate_brain(image, head.affine)
    assert dice(brain, head.depth > 0) > 0.97


@pytest.mark.parametrize(
    ("colours", "fluid"), [((T1, 75, 105), 30), ((T2, 90, 60), 160)], ids=["T1", "T2"]
)
def test_fluid_is_told_from_white_matter_on_either_contrast(head, colours, fluid):
    image = paint(head, *colours)
    anatomy = anatomy_from_brain(image, head.depth > 0, head.affine)
    ventricle = head.tissue == Tissue.VENTRICLE
    wet = (anatomy.tissue == Tissue.VENTRICLE) | (anatomy.tissue == Tissue.FLUID)
    assert float(image[ventricle].median()) == pytest.approx(fluid, abs=3)
    assert float(wet[ventricle].float().mean()) > 0.6
    assert float(wet[head.tissue == Tissue.WHITE].float().mean()) < 0.1
    assert float((anatomy.side == head.side)[head.depth > 0].float().mean()) > 0.97


def test_skull_lies_outside_the_brain_only(head):
    anatomy = anatomy_from_brain(paint(head, T1, 75, 105), head.depth > 0, head.affine)
    skull = anatomy.tissue == Tissue.SKULL
    assert dice(skull, head.tissue == Tissue.SKULL) > 0.6
    assert int(anatomy.depth[skull].max()) == 0


@pytest.mark.parametrize(("yaw", "roll"), [(0, 0), (9, 0), (0, -8), (-6, 7)])
def test_the_symmetry_plane_turns_with_the_head(head, yaw, roll):
    first, second = np.radians([yaw, roll])
    about_z = np.eye(4)
    about_z[:2, :2] = [[np.cos(first), -np.sin(first)], [np.sin(first), np.cos(first)]]
    about_y = np.eye(4)
    about_y[[0, 0, 2, 2], [0, 2, 0, 2]] = [
        np.cos(second),
        np.sin(second),
        -np.sin(second),
        np.cos(second),
    ]
    turn = about_z @ about_y
    plane = find_symmetry_plane(paint(head, T1, 75, 105), head.depth > 0, turn @ head.affine)
    angle = np.degrees(np.arccos(min(1.0, float(plane.normal @ turn[:3, 0]))))
    assert angle < 2.5
    assert abs(float(plane.point @ plane.normal)) < 2


@pytest.mark.parametrize(("value", "radius"), [(300, 30), (200, 34), (10, 34)])
def test_a_tumour_does_not_turn_the_symmetry_plane(head, value, radius):
    image = paint(head, T1, 75, 105)
    image[head.depth == 0] = 0
    axes = [torch.arange(size) for size in image.shape]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).double()
    where = places @ torch.from_numpy(head.affine[:3, :3]).T + torch.from_numpy(head.affine[:3, 3])
    tumour = (where - torch.tensor([40.0, 25.0, 30.0])).norm(dim=-1) < radius
    image[tumour & (head.depth > 0)] = value
    plane = find_symmetry_plane(image, image > 0, head.affine)
    assert np.degrees(np.arccos(min(1.0, float(plane.normal[0])))) < 4
    assert abs(float(plane.point @ plane.normal)) < 3


def test_a_surface_grows_to_the_ball_that_holds_it():
    axes = np.arange(50) * 2.0 - 49
    away = np.sqrt(sum(each**2 for each in np.meshgrid(axes, axes, axes, indexing="ij")))
    image = np.where(away < 40, 100, 0).astype(np.float32)
    ball = sphere(642)
    grown = swell(
        image, 2.0, Surface(ball.vertices * 15 + 49, ball.triangles), Brightness(0, 100, 100)
    )
    assert grown.volume_ml() == pytest.approx(4 / 3 * np.pi * 40**3 / 1000, rel=0.12)
    inside = fill(grown, (50, 50, 50), 2.0) > 0
    assert float(inside.sum()) * 8 / 1000 == pytest.approx(grown.volume_ml(), rel=0.03)


def test_the_unit_sphere_is_closed_and_faces_outwards():
    ball = sphere(642)
    assert len(ball.triangles) == 2 * 642 - 4  # Euler
    assert (ball.normals() * ball.vertices).sum(axis=1).min() > 0.99


def test_a_constant_image_is_refused():
    with pytest.raises(DataError, match="the image is 7 everywhere"):
        estimate_brain(torch.full((8, 8, 8), 7.0), np.eye(4))


def test_an_empty_mask_and_one_of_another_shape_are_refused():
    image = torch.rand(6, 6, 6)
    with pytest.raises(DataError, match="the brain mask is empty"):
        anatomy_from_brain(image, torch.zeros(6, 6, 6, dtype=torch.bool), np.eye(4))
    with pytest.raises(GeometryError, match="use one shape"):
        anatomy_from_brain(image, torch.ones(6, 6, 5, dtype=torch.bool), np.eye(4))


@pytest.mark.real
@pytest.mark.parametrize("case", [4, 5])
def test_the_brain_of_a_stripped_scan_is_that_of_its_mask(shared_data, case):
    folder = shared_data / "Dataset902_GliomaBraTS2013"
    name = f"brats_2013_pat000{case}_1"
    image = nibabel.load(folder / "imagesTr" / f"{name}_0000.nii.gz")
    mask = nibabel.load(next((folder / "brainmasks").glob(f"{name}*")))
    brain = estimate_brain(torch.from_numpy(image.get_fdata(dtype=np.float32)), image.affine)
    assert dice(brain, torch.from_numpy(mask.get_fdata() > 0.5)) > 0.95


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "millilitres"),
    [
        ("brain_mri/chris_PD.nii.gz", (1300, 1800)),
        ("postop/PGBM-002/PGBM-002_t1.nii.gz", (1250, 1600)),
        ("postop/PGBM-002/PGBM-002_flair.nii.gz", (1250, 1600)),
    ],
)
def test_the_brain_of_a_real_head_has_a_plausible_size(shared_data, name, millilitres):
    image = nibabel.load(shared_data / name)
    brain = estimate_brain(torch.from_numpy(image.get_fdata(dtype=np.float32)), image.affine)
    volume = float(brain.sum()) * abs(np.linalg.det(image.affine[:3, :3])) / 1000
    assert millilitres[0] < volume < millilitres[1]


@pytest.mark.real
def test_a_real_scan_alone_gives_two_equal_halves(shared_data):
    image = nibabel.load(shared_data / "brain_mri" / "MR_Gd.nii.gz")
    scan = torch.from_numpy(image.get_fdata(dtype=np.float32))
    anatomy = anatomy_from_image(scan, image.affine)
    left, right = (float((anatomy.side == each).sum()) for each in (1, 2))
    assert abs(left - right) < 0.03 * (left + right)


SEQUENCES = {
    "Dataset902_GliomaBraTS2013/imagesTr/brats_2013_pat0004_1_000{}": "01",
    "Dataset902_GliomaBraTS2013/imagesTr/brats_2013_pat0005_1_000{}": "01",
    "Dataset902_GliomaBraTS2013/imagesTr/brats_2013_pat0006_1_000{}": "01",
    "brain_mri/TCGA-DU-7294/TCGA-DU-7294_{}": ("t1", "t1c", "t2", "flair"),
    "postop/PGBM-002/PGBM-002_{}": ("t1", "t1c", "t2", "flair"),
}


@pytest.mark.real
@pytest.mark.parametrize("pattern", SEQUENCES)
def test_the_sequences_of_a_real_head_have_one_symmetry_plane(shared_data, pattern):
    planes = []
    for sequence in SEQUENCES[pattern]:
        image = nibabel.load(shared_data / f"{pattern.format(sequence)}.nii.gz")
        scan = torch.from_numpy(image.get_fdata(dtype=np.float32))
        planes.append(midline_of(scan, image.affine))
    normals = np.stack([plane.normal for plane in planes])
    assert np.degrees(np.arccos((normals @ normals.T).clip(max=1))).max() < 2
    places = [float(plane.normal @ (plane.point - planes[0].point)) for plane in planes]
    assert np.abs(places).max() < 4
