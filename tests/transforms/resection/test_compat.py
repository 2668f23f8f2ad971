"""By resector's law, cavities are those that resector itself made of the same parameters.

``compat.npz`` holds what `tests/benchmarks/peer_fixture.py` had resector 0.2.10 draw and make.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from tests.benchmarks.resection_crossing import read_labels
from tests.transforms.resection.heads import ellipsoid, make_head
from volseg.errors import DataError
from volseg.transforms.anatomy.from_labels import anatomy_from_labels
from volseg.transforms.anatomy.maps import Anatomy, Lobe, Side, Tissue
from volseg.transforms.resection.carve import carve
from volseg.transforms.resection.cavity import RESECTOR, Cavity, Solid
from volseg.transforms.resection.compat import (
    carve_compat,
    compat_mask,
    compat_resectable,
    compat_solid,
)
from volseg.transforms.resection.prior import Prior
from volseg.transforms.resection.rand import RandResectiond
from volseg.transforms.resection.resect import resect
from volseg.transforms.resection.sample import sample_cavity

STORED = np.load(Path(__file__).with_name("compat.npz"))
CASES = json.loads(str(STORED["cases"]))
HEADS = json.loads(str(STORED["heads"]))
BRAIN = (65.0, 82.0, 60.0)
"""Semi-axes of the brain of the stored cases, in mm."""

PRIOR = Prior(compat=RESECTOR)


@pytest.fixture(scope="module")
def head():
    return make_head((3.0, 3.0, 3.0))


def stored_mask(number):
    size = CASES[number]["size"]
    bits = np.unpackbits(STORED[f"mask{number}"], count=int(np.prod(size)))
    return bits.reshape(size).astype(bool)


def stored_head(case):
    """Affine and hemisphere of a head that resector was given, whose centre is the origin."""
    size, spacing = case["size"], np.array(case["spacing"])
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(np.array(size) - 1) / 2 * spacing
    x, y, z = (
        affine[axis, 3] + places * spacing[axis] for axis, places in enumerate(np.indices(size))
    )
    half = x < 0 if case["hemisphere"] == "left" else x > 0
    return affine, ellipsoid(x, y, z, (0, 0, 0), BRAIN) & half


def solid_of(case, **changes):
    given = {
        "centre": tuple(case["centre"]),
        "radii": tuple(case["radii"]),
        "angles": tuple(case["angles"]),
        "volume_ml": case["volume"] / 1000,
        "roughness": 1.0,
        "seed": case["noise_offset"],
        "law": RESECTOR,
    }
    return Solid(**{**given, **changes})


def make_case(case, **changes):
    """The cavity by our own hand, on the whole grid."""
    affine, resectable = stored_head(case)
    return compat_mask(solid_of(case, **changes), affine, torch.from_numpy(resectable)).numpy()


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


@pytest.mark.parametrize("number", range(len(CASES)))
def test_a_mask_is_the_one_that_resector_made(number):
    # resector fills flat triangles, whose middles lie below the surface by 0.3 % of its radius.
    assert dice(make_case(CASES[number]), stored_mask(number)) >= 0.99


@pytest.mark.parametrize("change", [{"seed": 3}, {"roughness": 0.0}, {"angles": (0.0, 0.0, 0.0)}])
def test_other_parameters_make_other_masks(change):
    scores = [dice(make_case(case, **change), stored_mask(n)) for n, case in enumerate(CASES[:4])]
    assert np.median(scores) < 0.93


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 3.0)])
def test_without_noise_it_is_the_ellipsoid_of_its_volume(spacing):
    affine = np.diag([*spacing, 1.0])
    shape = tuple(int(70 / each) for each in spacing)
    solid = Solid((34, 36, 35), (12, 17, 9), (20, 40, 70), 0, roughness=0, law=RESECTOR)
    volume = float(compat_solid(solid, affine, shape).sum()) * np.prod(spacing)
    # Voxels on the surface are counted by their centres, which errs to both sides.
    assert volume == pytest.approx(4 / 3 * np.pi * 12 * 17 * 9, rel=0.01)


def test_a_solid_beyond_the_grid_is_empty(head):
    solid = Solid((500, 0, 0), (12, 17, 9), (0, 0, 0), 8, roughness=1.0, law=RESECTOR)
    assert not bool(compat_solid(solid, np.eye(4), (20, 20, 20)).any())
    assert carve(head, Cavity("lesionectomy", side=1, solids=(solid,))) is None


@pytest.mark.real
@pytest.mark.parametrize("number", [13, 14, 15])
def test_what_is_cut_of_a_real_head_is_what_resector_cut(number, shared_data):
    scores = []
    anatomy = read_anatomy(shared_data, number)
    for index, case in enumerate(HEADS):
        if not case["name"].startswith(f"labelmap{number}"):
            continue
        assert list(anatomy.tissue.shape) == case["grid"]
        bits = np.unpackbits(STORED[f"head_mask{index}"], count=int(np.prod(case["size"])))
        stored, own = np.zeros((2, *case["grid"]), dtype=bool)
        paste(stored, case["start"], bits.reshape(case["size"]) > 0)
        side = int(Side[case["hemisphere"].upper()])
        start, mask = carve_compat(anatomy, side, solid_of(case))
        paste(own, start, mask.numpy())
        scores.append(dice(own, stored))
    # The brain that is cut has the same outline only where its maps of tissue tell as much as the
    # parcellation that resector reads: up to 3 % of small cavities differ.
    assert len(scores) == 4
    assert min(scores) >= 0.97


def read_anatomy(shared_data, number):
    """The maps of the head that resector was given: RAS, cut to what is labelled."""
    labels, affine = read_labels(shared_data, number)
    return anatomy_from_labels(torch.from_numpy(labels), affine)


def paste(whole, start, mask):
    whole[tuple(slice(a, a + n) for a, n in zip(start, mask.shape, strict=True))] = mask


def test_what_is_kept_is_one_piece_that_resector_would_cut(head):
    for seed in range(12):
        cavity = sample_cavity(head, np.random.RandomState(seed), PRIOR)
        carved = carve(head, cavity)
        assert ndimage.label(carved.mask.numpy())[1] == 1
        window = tuple(slice(a, b) for a, b in zip(carved.start, carved.stop, strict=True))
        own = compat_resectable(head, cavity.side)[window]
        assert not bool((carved.mask & ~own).any())


def test_ventricles_are_cut_and_the_hindbrain_is_not(head):
    cut = compat_resectable(head, int(Side.LEFT))
    # Cut is what most of a cube of nine voxels is, so that up to four beyond a border are too.
    deep = torch.from_numpy(ndimage.binary_erosion((head.side == Side.LEFT).numpy(), iterations=5))
    assert int(deep.sum()) > 1000
    ventricle = (head.tissue == Tissue.VENTRICLE) & (head.side == Side.LEFT)
    assert float(cut[ventricle].float().mean()) > 0.95
    for spared in (head.lobe == Lobe.INFRATENTORIAL, head.side == Side.RIGHT, head.depth == 0):
        far = torch.from_numpy(ndimage.binary_erosion(spared.numpy(), np.ones((9, 9, 9))))
        assert bool(far.any())
        assert not bool(cut[far].any())
    assert not bool(compat_resectable(head, int(Side.RIGHT))[deep].any())


def test_what_is_drawn_follows_the_laws_of_resector(head):
    drawn = [sample_cavity(head, np.random.RandomState(seed), PRIOR) for seed in range(300)]
    solids = [cavity.solids[0] for cavity in drawn]
    volumes = [solid.volume_ml for solid in solids]
    assert stats.kstest(volumes, stats.uniform(0.844, 82.913).cdf).pvalue > 0.01
    ratios = [solid.radii[1] / solid.radii[0] for solid in solids]
    assert stats.kstest(ratios, stats.uniform(1, 1).cdf).pvalue > 0.01
    for solid in solids:
        assert np.prod(solid.radii) * 4 / 3 * np.pi == pytest.approx(1000 * solid.volume_ml)
        assert 0 <= solid.seed < 1000
    # 300 fair coins fall on one side between 115 and 185 times but once in ten thousand.
    assert 115 < sum(cavity.side == Side.LEFT for cavity in drawn) < 185
    for cavity in drawn[:40]:
        place = np.linalg.solve(head.affine, [*cavity.solids[0].centre, 1])[:3]
        voxel = tuple(np.rint(place).astype(int))
        assert head.tissue[voxel] in (Tissue.CORTEX, Tissue.LIMBIC)
        assert head.side[voxel] == cavity.side


def test_a_drawn_cavity_is_painted_and_replayed_from_its_record(head):
    image = torch.where(head.depth > 0, 100.0, 0.0)[None]
    case = {"image": image, "anatomy": head.stack()}
    transform = RandResectiond(["image"], "T1", prior={"compat": RESECTOR})
    transform.set_random_state(4)
    done = transform(case)
    assert bool((done["image"] != image).any())
    record = {"cavity": transform.cavity.to_json()}
    again = RandResectiond.from_params(json.loads(json.dumps(record)), ["image"], "T1")(case)
    assert torch.equal(done["cavity"], again["cavity"])
    assert torch.equal(done["image"], again["image"])


def test_a_head_without_cortex_is_left_as_it_is():
    empty = Anatomy(*torch.zeros((4, 8, 8, 8), dtype=torch.uint8), affine=np.eye(4))
    cavity = sample_cavity(empty, np.random.RandomState(0), PRIOR)
    assert not cavity.is_ok
    image = torch.ones(1, 8, 8, 8)
    assert torch.equal(resect(image, empty, cavity, ["T1"]).image, image)


def test_another_law_is_refused():
    with pytest.raises(DataError, match="compat is 'vtk'"):
        Prior(compat="vtk")
