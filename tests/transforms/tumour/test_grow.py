"""A tumour grown in a head of ellipsoids: its volume, its place, its contrast, its mass effect."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from tests.transforms.resection.heads import make_head
from tests.transforms.tumour.heads import LEVELS, paint
from volseg.errors import DataError, GeometryError
from volseg.transforms.anatomy.maps import Tissue
from volseg.transforms.resection.cavity import Solid
from volseg.transforms.tumour.grow import grow
from volseg.transforms.tumour.tumour import Part, Tumour

GRIDS = {
    "ras": {},
    "lia": {"signs": (-1, 1, -1)},
    "thick slices": {"spacing": (1.5, 1.5, 5.5)},
    "oblique": {"turn": Rotation.from_euler("xyz", (12, -9, 16), degrees=True).as_matrix()},
}
FOCUS = Solid((32.0, 12.0, 32.0), (16.0, 12.0, 12.0), (20.0, 30.0, 10.0), 8.0, 0.4, seed=3)
RING = Tumour(
    "glioblastoma",
    side=2,
    solids=(FOCUS,),
    rim=3.0,
    necrosis=1.0,
    enhancement=1.0,
    oedema=12.0,
    oedema_strength=1.0,
    mass_effect=3.0,
    seed=5,
)


@pytest.fixture(scope="module")
def head():
    return make_head()


def core_of(label):
    return (label == int(Part.CORE)) | (label == int(Part.ENHANCING))


@pytest.mark.parametrize("grid", GRIDS)
def test_the_core_has_its_volume_on_every_grid(grid):
    anatomy = make_head(**GRIDS[grid])
    done = grow(paint(anatomy, "T1c"), anatomy, RING, ["T1c"])
    volume = float(core_of(done.label).sum()) * anatomy.voxel_ml
    assert volume == pytest.approx(
        FOCUS.volume_ml, abs=max(0.005 * FOCUS.volume_ml, anatomy.voxel_ml)
    )


@pytest.mark.parametrize("grid", GRIDS)
def test_the_core_lies_about_its_centre_in_mm_on_every_grid(grid):
    anatomy = make_head(**GRIDS[grid])
    done = grow(paint(anatomy, "T1c"), anatomy, RING, ["T1c"])
    voxels = core_of(done.label)[0].nonzero().double().numpy()
    places = voxels @ anatomy.affine[:3, :3].T + anatomy.affine[:3, 3]
    assert np.linalg.norm(places.mean(axis=0) - FOCUS.centre) < 5.0  # its surface is rough


def test_nothing_changes_outside_the_box(head):
    image = torch.cat([paint(head, "T1c"), paint(head, "FLAIR", 1)])
    done = grow(image, head, RING, ["T1c", "FLAIR"])
    (z, y, x), (deep, high, wide) = done.box
    outside = torch.ones(image.shape[1:], dtype=torch.bool)
    outside[z:deep, y:high, x:wide] = False
    assert torch.equal(done.image[:, outside], image[:, outside])
    assert not done.label[0, outside].any()
    beyond = head.depth == 0
    seam = torch.nn.functional.max_pool3d((~beyond)[None].float(), 5, 1, 2)[0] == 0
    assert torch.equal(done.image[:, seam], image[:, seam])  # 4 mm about the brain are blurred edge


def test_the_image_that_was_given_stays_as_it_was_unless_asked_otherwise(head):
    image = paint(head, "T2")
    before = image.clone()
    done = grow(image, head, RING, ["T2"])
    assert torch.equal(image, before)
    grow(image, head, RING, ["T2"], in_place=True)
    assert torch.equal(image, done.image)


def test_a_record_grows_the_same_tumour_bit_for_bit(head):
    again = Tumour.from_json(json.loads(json.dumps(RING.to_json())))
    assert again == RING
    first = grow(paint(head, "T1c"), head, RING, ["T1c"])
    second = grow(paint(head, "T1c"), head, again, ["T1c"])
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.label, second.label)


def test_sequences_that_are_grown_together_or_alone_are_equal_in_label_and_share_the_tumour(head):
    one, two = paint(head, "T1c"), paint(head, "FLAIR", 1)
    both = grow(torch.cat([one, two]), head, RING, ["T1c", "FLAIR"])
    alone = grow(one, head, RING, ["T1c"])
    assert torch.equal(both.label, alone.label)
    assert torch.equal(both.image[0], alone.image[0])
    flair = grow(two, head, RING, ["FLAIR"])
    assert torch.equal(both.label, flair.label)


DIRECTIONS = {
    ("T1", Part.OEDEMA): -1,
    ("T1", Part.CORE): -1,
    ("T1", Part.ENHANCING): -1,
    ("T1c", Part.OEDEMA): -1,
    ("T1c", Part.CORE): -1,
    ("T1c", Part.ENHANCING): 1,
    ("T2", Part.OEDEMA): 1,
    ("T2", Part.CORE): 1,
    ("T2", Part.ENHANCING): 1,
    ("FLAIR", Part.OEDEMA): 1,
    ("FLAIR", Part.ENHANCING): 1,
    ("PD", Part.OEDEMA): 1,
    ("CT", Part.OEDEMA): -1,
    ("CT", Part.CORE): -1,
    ("CT", Part.ENHANCING): 1,
}


@pytest.mark.parametrize(("contrast", "part"), DIRECTIONS)
def test_each_part_is_brighter_or_darker_than_white_matter_as_its_sequence_says(
    head, contrast, part
):
    done = grow(paint(head, contrast), head, RING, [contrast])
    inner = -torch.nn.functional.max_pool3d(-(done.label == int(part)).float(), 3, 1, 1) > 0
    mask = inner if inner.sum() > 8 else done.label == int(part)
    level = float(done.image[mask].median())
    assert np.sign(level - LEVELS[contrast]["white"]) == DIRECTIONS[contrast, part]


def test_an_unknown_contrast_is_read_from_the_order_of_its_tissues(head):
    image = paint(head, "T2")
    known, guessed = (grow(image, head, RING, [name]) for name in ("T2", "unknown"))
    assert torch.equal(known.image, guessed.image)


def test_a_ring_lies_around_what_is_dead(head):
    label = grow(paint(head, "T1c"), head, RING, ["T1c"]).label[0]
    dead, rim = label == int(Part.CORE), label == int(Part.ENHANCING)
    share = float(dead.sum()) / float(dead.sum() + rim.sum())
    assert share == pytest.approx((9.4 / 12.4) ** 3, abs=0.12)  # a ball of 8 mL less 3 mm
    near = torch.zeros_like(dead)
    for axis in range(3):
        for step in (-1, 1):
            near |= dead.roll(step, axis)
    touched = label[near & ~dead]
    assert (touched == int(Part.ENHANCING)).float().mean() > 0.95


def test_what_takes_up_nothing_has_no_enhancing_part(head):
    label = grow(paint(head, "T2"), head, replace(RING, enhancement=0.0), ["T2"]).label
    assert label.unique().tolist() == [0, int(Part.CORE), int(Part.OEDEMA)]


def test_shares_of_the_parts_are_those_that_were_drawn(head):
    tumour = replace(RING, rim=0.0, necrosis=0.3, quiet=0.5, mass_effect=0.0)
    label = grow(paint(head, "T1c"), head, tumour, ["T1c"]).label
    core = float(core_of(label).sum())
    assert float((label == int(Part.ENHANCING)).sum()) / core == pytest.approx(0.2, abs=0.01)


def test_oedema_enters_white_matter_only_and_no_further_than_drawn(head):
    tumour = replace(RING, mass_effect=0.0)
    label = grow(paint(head, "T2"), head, tumour, ["T2"]).label[0]
    swollen = label == int(Part.OEDEMA)
    tissues = {Tissue(int(each)) for each in head.tissue[swollen].unique()}
    assert tissues <= {Tissue.WHITE, Tissue.CALLOSUM, Tissue.CEREBELLUM_WHITE}
    places = [each.nonzero().double() * 2.0 for each in (swollen, core_of(label))]
    reach = torch.cdist(*places).amin(dim=1).max()
    assert 4.0 < reach <= tumour.oedema + 6.0  # the front starts from voxels of 4 mm that hold it


def test_ventricles_are_compressed_and_the_skull_stays(head):
    image = torch.zeros(1, *head.tissue.shape)
    image[0][head.tissue == Tissue.VENTRICLE] = 1.0
    image[0][head.tissue == Tissue.SKULL] = 5.0
    large = replace(FOCUS, centre=(28.0, 0.0, 22.0), volume_ml=14.0, radii=(15.0,) * 3)
    tumour = replace(RING, solids=(large,), mass_effect=7.0, oedema=0.0)
    maps = {}
    for push in (0.0, 7.0):
        made = grow(paint(head, "T1", noise=0.0), head, replace(tumour, mass_effect=push), ["T1"])
        right = (head.side == 2) & ~core_of(made.label[0])
        dark = (made.image[0] < 50) & right & (head.depth > 20)
        maps[push] = int(dark.sum())
        skull = head.tissue == Tissue.SKULL
        assert float(made.image[0][skull].max()) < 80
    assert maps[7.0] < 0.9 * maps[0.0]


def test_a_negative_and_a_failed_draw_leave_the_scan_alone(head):
    image = paint(head, "T1")
    for tumour in (Tumour(), replace(RING, is_ok=False)):
        done = grow(image, head, tumour, ["T1"])
        assert torch.equal(done.image, image)
        assert not done.label.any()
        assert done.box is None


def test_texture_within_follows_the_noise_of_the_scan(head):
    quiet = replace(RING, heterogeneity=0.0, oedema=0.0, rim=60.0, necrosis=0.0)
    spreads = []
    for noise in (1.0, 4.0):
        done = grow(paint(head, "T2", noise=noise), head, quiet, ["T2"])
        inner = -torch.nn.functional.max_pool3d(-core_of(done.label).float(), 5, 1, 2) > 0
        spreads.append(float(done.image[inner].std()))
    assert spreads[1] / spreads[0] == pytest.approx(4.0, rel=0.3)


def test_what_does_not_fit_is_refused(head):
    image = paint(head, "T1")
    with pytest.raises(GeometryError, match="on one grid"):
        grow(image[:, 1:], head, RING, ["T1"])
    with pytest.raises(DataError, match="use a floating type"):
        grow(image.int(), head, RING, ["T1"])
    with pytest.raises(DataError, match="give a contrast and statistics for each"):
        grow(image, head, RING, ["T1", "T2"])
    with pytest.raises(DataError, match="contrast 'T3' is not known"):
        grow(image, head, RING, ["T3"])
