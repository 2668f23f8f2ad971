"""`PrepareAnatomyd` takes the best that a case has."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from tests.transforms.resection.heads import make_head
from volseg.errors import DataError
from volseg.transforms.anatomy.from_labels import anatomy_from_labels
from volseg.transforms.anatomy.maps import Anatomy, Tissue
from volseg.transforms.anatomy.prepare import PrepareAnatomyd

SCHEME = {int(each): each for each in Tissue}


@pytest.fixture(scope="module")
def case():
    """Give an image, a label map and a mask of one head, on a left-handed grid."""
    head = make_head(spacing=(4.0, 4.0, 4.0), signs=(-1, 1, 1))
    affine = torch.from_numpy(head.affine)
    image = head.tissue.float() * 10
    image[head.depth == 0] = 0
    volumes = {"image": image, "labels": head.tissue, "brain": head.depth > 0}
    return {key: MetaTensor(each[None], affine=affine) for key, each in volumes.items()}


def test_the_maps_are_those_of_the_label_map_on_its_grid(case):
    maps = PrepareAnatomyd(scheme=SCHEME)(case)["anatomy"]
    affine = case["labels"].affine.numpy()
    assert maps.dtype == torch.uint8
    assert maps.shape == (4, *case["labels"].shape[1:])
    assert np.array_equal(maps.affine.numpy(), affine)
    expected = anatomy_from_labels(case["labels"][0].as_tensor(), affine, SCHEME).stack()
    assert torch.equal(maps.as_tensor(), expected)


@pytest.mark.parametrize("present", [("image", "brain"), ("image",)])
def test_a_mask_or_an_image_is_enough(case, present):
    given = {key: case[key] for key in present}
    result = PrepareAnatomyd()(given)
    anatomy = Anatomy.unstack(result["anatomy"].as_tensor(), result["anatomy"].affine.numpy())
    brain = case["brain"][0].as_tensor() > 0
    assert float((anatomy.depth > 0)[brain].float().mean()) > 0.95
    assert set(result) == {*present, "anatomy"}


def test_a_case_with_nothing_is_refused():
    with pytest.raises(DataError, match="neither 'labels' nor any of"):
        PrepareAnatomyd()({"label": torch.zeros(1, 4, 4, 4)})
