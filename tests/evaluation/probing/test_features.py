"""Frozen features of volumes, patches and regions."""

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from volseg.data.case import Case
from volseg.errors import DataError, VolsegError
from volseg.evaluation.probing.features import Arm, embed_samples
from volseg.evaluation.probing.samples import Sample
from volseg.networks.residual import ResidualEncoder

SIZE = (8, 8, 8)


@pytest.fixture
def arm():
    torch.manual_seed(0)
    encoder = ResidualEncoder(1, (2, 4)).eval()
    affine = torch.diag(torch.tensor([2.0, 2, 2, 1], dtype=torch.float64))
    volume = torch.randn(1, 12, 10, 9)

    def read(item):
        if "broken" in item["image"]:
            raise DataError("broken: no volume")
        label = (torch.arange(12)[:, None, None].expand(12, 10, 9) >= 6).to(torch.int16)[None]
        return {"image": MetaTensor(volume, affine=affine), "label": MetaTensor(label)}

    return Arm("tiny", encoder, read, SIZE, facts={"volume": volume})


def case(name="a"):
    return Case(name, (Path(f"{name}.nii.gz"),), Path("label.nii.gz"))


def test_patches_are_cut_around_their_centres_and_moved_inwards(arm):
    inside, outside = (12.0, 10.0, 8.0), (0.0, 99.0, 8.0)  # in mm: voxels (6, 5, 4), (0, 49, 4)
    samples = [Sample(case(), "x", inside), Sample(case(), "y", outside)]
    found = embed_samples(arm, samples)
    volume = arm.facts["volume"]
    patches = [volume[:, 2:10, 1:9, 0:8], volume[:, 0:8, 2:10, 0:8]]
    with torch.no_grad():
        expected = arm.encoder.embed(torch.stack(patches)).numpy()
    np.testing.assert_allclose(found.vectors, expected, atol=1e-6)
    assert found.seconds > 0
    assert found.failures == {}


def test_a_region_is_pooled_over_its_voxels(arm):
    (row,) = embed_samples(arm, [Sample(case(), "x", values=(1,))]).vectors
    whole = torch.nn.functional.pad(arm.facts["volume"][None], (0, 1, 0, 0, 0, 0), mode="replicate")
    region = torch.zeros_like(whole)
    region[..., 6:, :, :9] = 1
    with torch.no_grad():
        expected = arm.encoder.embed(whole, region=region)[0].numpy()
    np.testing.assert_allclose(row, expected, atol=1e-6)


def test_a_case_that_cannot_be_read_is_reported_and_the_others_go_on(arm):
    found = embed_samples(arm, [Sample(case("broken"), "x"), Sample(case(), "y")])
    assert found.failures == {"broken": "broken: no volume"}
    assert np.isnan(found.vectors).all(axis=1).tolist() == [True, False]
    with pytest.raises(VolsegError, match="no case can be read, such as: broken: no volume"):
        embed_samples(arm, [Sample(case("broken"), "x")])
