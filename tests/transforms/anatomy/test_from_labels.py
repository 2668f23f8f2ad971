"""A label map gives the same maps however it is stored, and says what it does not know."""

import logging

import nibabel
import numpy as np
import pytest
import torch

from tests.transforms.resection.heads import make_head
from volseg.errors import DataError
from volseg.transforms.anatomy.from_labels import anatomy_from_labels, tissue_of_labels
from volseg.transforms.anatomy.maps import Lobe, Side, Tissue

LEFT = {
    Tissue.CORTEX: 3,
    Tissue.WHITE: 2,
    Tissue.DEEP: 10,
    Tissue.LIMBIC: 17,
    Tissue.VENTRICLE: 4,
    Tissue.CEREBELLUM_CORTEX: 8,
    Tissue.CEREBELLUM_WHITE: 7,
}
RIGHT = {3: 42, 2: 41, 10: 49, 17: 53, 4: 43, 8: 47, 7: 46}
MIDDLE = {Tissue.FLUID: 24, Tissue.BRAINSTEM: 16, Tissue.CALLOSUM: 251}


@pytest.fixture(scope="module")
def head():
    """Give a head made of ellipsoids, whose maps are known."""
    return make_head(spacing=(3.0, 3.0, 3.0))


@pytest.fixture(scope="module")
def labels(head):
    """Give FreeSurfer's labels of that head."""
    result = torch.zeros(head.tissue.shape, dtype=torch.int32)
    for tissue, number in LEFT.items():
        kind = head.tissue == tissue
        result[kind] = number
        result[kind & (head.side == Side.RIGHT)] = RIGHT[number]
    for tissue, number in MIDDLE.items():
        result[head.tissue == tissue] = number
    return result


def test_tissues_and_sides_come_back(head, labels):
    anatomy = anatomy_from_labels(labels, head.affine)
    brain = head.tissue >= Tissue.VENTRICLE
    assert torch.equal(anatomy.tissue[brain], head.tissue[brain])
    assert torch.equal(anatomy.side[brain], head.side[brain])
    assert bool((anatomy.lobe[anatomy.tissue == Tissue.LIMBIC] == Lobe.TEMPORAL).all())
    below = anatomy.tissue == Tissue.CEREBELLUM_CORTEX
    assert bool((anatomy.lobe[below] == Lobe.INFRATENTORIAL).all())


def test_depth_is_that_of_the_ellipsoid(head, labels):
    anatomy = anatomy_from_labels(labels, head.affine)
    inner = head.depth > 20
    gap = (anatomy.depth[inner].float() - head.depth[inner].float()).abs() / 2
    # The head's own depth is of first order; the brain begins 2 mm below its hull; voxels are 3 mm.
    assert gap.median() <= 3.5


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flipped", [(), (0,), (0, 1, 2)])
def test_maps_do_not_depend_on_how_the_volume_is_stored(head, labels, order, flipped):
    straight = anatomy_from_labels(labels, head.affine)
    stored, affine = store(labels, head.affine, order, flipped)
    anatomy = anatomy_from_labels(stored, affine)
    for name in ("tissue", "side", "lobe", "depth"):
        expected, _ = store(getattr(straight, name), head.affine, order, flipped)
        same = (getattr(anatomy, name) == expected).float().mean()
        # Coarse voxels may be grouped from the other end.
        assert same == 1.0 if name == "tissue" else same > 0.995, name


def store(volume, affine, order, flipped):
    """Permute and flip the axes of a volume together with its affine."""
    moved = volume.permute(order)
    matrix = affine[:, [*order, 3]].copy()
    for axis in flipped:
        matrix[:3, 3] += matrix[:3, axis] * (moved.shape[axis] - 1)
        matrix[:3, axis] *= -1
    return moved.flip(flipped).contiguous(), matrix


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_numbers_beyond_a_byte_are_kept_in_every_type(dtype):
    labels = torch.tensor([[[2, 41, 1030, 2011]]]).to(dtype)
    tissue, side = tissue_of_labels(labels)
    assert tissue.flatten().tolist() == [Tissue.WHITE, Tissue.WHITE, Tissue.CORTEX, Tissue.CORTEX]
    assert side.flatten().tolist() == [Side.LEFT, Side.RIGHT, Side.LEFT, Side.RIGHT]


def test_labels_that_almost_are_whole_are_rounded():
    tissue, _ = tissue_of_labels(torch.tensor([[[0.9999999, 41.0]]]) * 2, {2: Tissue.WHITE, 82: 5})
    assert tissue.flatten().tolist() == [Tissue.WHITE, Tissue.CORTEX]


def test_interpolated_labels_are_refused():
    with pytest.raises(DataError, match="not whole numbers; was a label map interpolated"):
        tissue_of_labels(torch.tensor([[[2.0, 41.0, 21.5]]]), "freesurfer")


def test_negative_labels_are_refused():
    with pytest.raises(DataError, match="labels run from -1 to 41"):
        tissue_of_labels(torch.tensor([[[-1, 41]]]), "freesurfer")


def test_unknown_labels_are_named_once_and_lie_outside_unless_deep(head, labels, caplog):
    changed = labels.clone()
    changed[0, 0, 0] = 777
    middle = tuple(count // 2 for count in labels.shape)
    changed[middle] = 778
    with caplog.at_level(logging.WARNING, logger="volseg"):
        anatomy = anatomy_from_labels(changed, head.affine, "freesurfer")
    assert [record.message.split(" are")[0] for record in caplog.records] == ["labels 777, 778"]
    assert anatomy.tissue[0, 0, 0] == Tissue.HEAD
    assert anatomy.tissue[middle] in (Tissue.WHITE, Tissue.CALLOSUM)


def test_a_mapping_of_tissues_takes_its_sides_from_the_place(head):
    labels = (head.tissue >= Tissue.VENTRICLE).to(torch.uint8)
    anatomy = anatomy_from_labels(labels, head.affine, {0: Tissue.AIR, 1: Tissue.CORTEX})
    brain = labels > 0
    assert (anatomy.side[brain] == head.side[brain]).float().mean() > 0.97


def test_a_map_without_a_brain_is_refused():
    with pytest.raises(DataError, match="no voxel of the label map belongs to a brain"):
        anatomy_from_labels(torch.zeros(4, 4, 4), np.eye(4), "freesurfer")


@pytest.mark.real
@pytest.mark.parametrize("case", [1, 6, 9, 13])
def test_real_label_maps_have_two_equal_halves_of_a_plausible_size(shared_data, case):
    image = nibabel.load(shared_data / "brain_labelmaps" / f"training_seg_{case:02}.nii.gz")
    stored = np.asanyarray(image.dataobj)[::2, ::2, ::2].astype(np.float32)
    affine = image.affine @ np.diag([2, 2, 2, 1])
    anatomy = anatomy_from_labels(torch.from_numpy(stored), affine)
    left, right = (float((anatomy.side == each).sum()) * anatomy.voxel_ml for each in (1, 2))
    assert 1000 < left + right < 1800
    assert abs(left - right) < 0.05 * (left + right)
    # Of the cerebrum: frontal about 40 %, temporal 22 %, parietal 24 %, occipital 14 %.
    shares = [float((anatomy.lobe == each).sum()) for each in (1, 2, 3, 4)]
    assert np.array(shares) / sum(shares) == pytest.approx([0.43, 0.2, 0.23, 0.14], abs=0.05)
    assert bool((anatomy.tissue == Tissue.SKULL).any())
