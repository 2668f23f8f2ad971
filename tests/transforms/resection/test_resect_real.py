"""Drawn operations on the label map of a real head, on every contrast."""

import nibabel
import numpy as np
import pytest
import torch
from scipy import ndimage

from volseg.transforms.anatomy.from_labels import anatomy_from_labels
from volseg.transforms.anatomy.maps import Tissue
from volseg.transforms.resection.resect import resect
from volseg.transforms.resection.sample import sample_cavity
from volseg.transforms.resection.statistics import measure_statistics

pytestmark = pytest.mark.real

CONTRASTS = ("T1", "T2", "FLAIR", "CT")
LEVELS = {
    "T1": (0, 150, 25, 35, 30, 95, 135, 115, 90, 140, 130, 85, 130, 60),
    "T2": (0, 90, 10, 240, 250, 125, 85, 95, 130, 80, 85, 120, 85, 180),
    "FLAIR": (0, 130, 15, 22, 18, 115, 92, 95, 120, 85, 90, 112, 90, 140),
    "CT": (-1000, 40, 950, 8, 6, 38, 30, 39, 37, 29, 31, 36, 29, 20),
}
"""Intensity of each `Tissue` as such scans show it."""


@pytest.fixture(scope="module")
def head(shared_data):
    volume = nibabel.load(shared_data / "brain_labelmaps" / "training_seg_13.nii.gz")
    labels = torch.from_numpy(np.asarray(volume.dataobj)[::2, ::2, ::2].astype(np.int32))
    return anatomy_from_labels(labels, volume.affine @ np.diag([2.0, 2.0, 2.0, 1.0]))


@pytest.fixture(scope="module")
def image(head):
    random = np.random.RandomState(0)
    channels = []
    for contrast in CONTRASTS:
        clean = np.array(LEVELS[contrast], dtype=np.float32)[head.tissue.numpy()]
        noise = ndimage.gaussian_filter(random.standard_normal(clean.shape), 0.5)
        channels.append(clean + 4 * noise / noise.std())
    return torch.from_numpy(np.stack(channels)).float()


@pytest.fixture(scope="module")
def statistics(image, head):
    return [measure_statistics(channel, head) for channel in image]


@pytest.mark.parametrize("seed", range(12))
def test_a_drawn_operation_stays_within_bounds(seed, head, image, statistics):
    cavity = sample_cavity(head, np.random.RandomState(seed))
    result = resect(image, head, cavity, CONTRASTS, statistics)
    changed = (result.image != image).any(dim=0)
    assert bool(torch.isfinite(result.image).all())
    assert not bool(((result.mask[0] > 0) & (head.depth == 0)).any())
    if result.box is None:
        assert not bool(changed.any())
        return
    inside = torch.zeros_like(changed)
    inside[tuple(slice(a, b) for a, b in zip(*result.box, strict=True))] = True
    assert not bool((changed & ~inside).any())
    # No part of the palette lies beyond air, metal, or twice the brightest tissue.
    assert float(result.image[:3].max()) < 2.2 * 250
    assert float(result.image[:3].min()) > -40
    assert float(result.image[3].min()) > -1100


def test_the_fluid_of_a_drawn_cavity_is_that_of_the_ventricles(head, image, statistics):
    ventricle = head.tissue == Tissue.VENTRICLE
    found = 0
    for seed in range(30):
        cavity = sample_cavity(head, np.random.RandomState(seed))
        content = cavity.content
        if max(content.protein, content.clot, content.septa, content.air) > 0:
            continue
        mask = resect(image, head, cavity, CONTRASTS, statistics).mask[0].numpy()
        core = ndimage.binary_erosion(mask, iterations=2)
        if core.sum() < 100:
            continue
        found += 1
        filled = resect(image, head, cavity, CONTRASTS, statistics).image
        for channel, before, scale in zip(filled, image, statistics, strict=True):
            own, truth = channel.numpy()[core], before[ventricle]
            # Fluid lies at most 10 % of the way to tissue from that of the ventricles, or 12 HU.
            way = max(0.1 * abs(scale.white[0] - scale.fluid[0]), 12.0)
            assert abs(np.median(own) - float(truth.median())) < way
            assert own.std() == pytest.approx(4, rel=0.25)
    assert found >= 2
