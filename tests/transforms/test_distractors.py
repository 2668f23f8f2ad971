"""Lesions that are not cavities: where they are painted, how large and how bright."""

from dataclasses import replace
from math import pi

import numpy as np
import pytest
import torch

from volseg.errors import GeometryError
from volseg.transforms.contrast_priors import draw_kind_means
from volseg.transforms.distractors import LEAST_CONTRAST, Lesion, draw_lesions, paint_lesion
from volseg.transforms.label_kinds import Kind

BALL = Lesion(
    place=0.5,
    radius=8.0,
    core=1.0,
    rim=None,
    rim_width=0.0,
    oedema=None,
    reach=1.0,
    roughness=0.0,
    seed=3,
)


def paint(lesion, spacing=(1.0, 1.0, 1.0), tissue=None, white=None):
    size = tuple(round(48 / edge) for edge in spacing)
    image = torch.zeros(size)
    tissue = torch.ones(size, dtype=torch.bool) if tissue is None else tissue
    white = tissue if white is None else white
    centre = np.ravel_multi_index(tuple(n // 2 for n in size), size)
    places = torch.tensor([centre])
    paint_lesion(image, places, (white, tissue, torch.zeros_like(tissue)), lesion, spacing)
    return image


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.75, 1.0, 3.0)])
def test_a_smooth_lesion_has_the_volume_of_its_ball(spacing):
    image = paint(BALL, spacing)
    volume = float(image.sum()) * np.prod(spacing)
    # The texture adds noise of 8 %, of which some 60 independent cells remain: 1 %; the edge is
    # soft and curved: 3 sigma² / r² more, with a logistic sigma of 0.73 mm: 2.5 %.
    assert volume == pytest.approx(4 / 3 * pi * 8**3 * 1.025, rel=0.04)


def test_nothing_is_painted_outside_the_brain():
    tissue = torch.zeros(48, 48, 48, dtype=torch.bool)
    tissue[:24] = True
    image = paint(replace(BALL, oedema=0.5, rim=2.0, rim_width=3.0, reach=2.0), tissue=tissue)
    assert bool((image[:24] > 0).any())
    assert not bool(image[24:].any())


def test_only_white_matter_swells():
    white = torch.zeros(48, 48, 48, dtype=torch.bool)
    white[:, :24] = True
    image = paint(replace(BALL, oedema=0.5, reach=2.0), white=white)
    # 12 mm from the centre: beyond the core of 8 mm, within the oedema of 16 mm.
    assert float(image[24, 12, 24]) == pytest.approx(0.45, abs=0.01)
    assert float(image[24, 36, 24]) == pytest.approx(0, abs=1e-3)


def test_the_rim_lies_around_the_core():
    image = paint(replace(BALL, rim=3.0, rim_width=4.0))
    profile = image[24, 24, 24:]
    assert float(profile[10]) == pytest.approx(3, abs=0.05)
    assert float(profile[2]) < 1.4
    assert float(profile[16]) == pytest.approx(0, abs=1e-3)


def test_a_head_without_white_matter_stays_healthy():
    image = torch.zeros(8, 8, 8)
    mask = torch.zeros(8, 8, 8, dtype=torch.bool)
    empty = torch.zeros(0, dtype=torch.long)
    paint_lesion(image, empty, (mask, mask, mask), BALL, (1.0, 1.0, 1.0))
    assert not bool(image.any())


def test_a_lesion_without_size_is_refused():
    with pytest.raises(GeometryError, match="radius is 0"):
        paint(replace(BALL, radius=0))


@pytest.mark.parametrize("contrast", ["T1", "T2", "FLAIR", "unknown"])
def test_no_solid_tumour_is_as_bright_as_fluid(contrast):
    random = np.random.RandomState(1)
    tumours = 0
    for _ in range(300):
        means = draw_kind_means(contrast, random)
        for lesion in draw_lesions(contrast, means, random):
            if lesion.radius > 5.0:
                tumours += 1
                least = LEAST_CONTRAST / (2 if lesion.rim is not None else 1)
                assert abs(lesion.core - means[Kind.FLUID]) >= least - 1e-9
                assert lesion.core > 0
    assert tumours > 100


def test_oedema_is_dark_on_t1_and_bright_on_flair():
    random = np.random.RandomState(2)
    for contrast, sign in (("T1", -1), ("FLAIR", 1), ("T2", 1)):
        for _ in range(50):
            means = draw_kind_means(contrast, random)
            for lesion in draw_lesions(contrast, means, random):
                if lesion.oedema is not None:
                    assert sign * (lesion.oedema - means[Kind.WHITE]) > 0
