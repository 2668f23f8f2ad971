"""A guard among the steps that MONAI's engines and MONAI Label carry out."""

import logging

import nibabel as nib
import numpy as np
import pytest
import torch

from volseg.data.pipelines import postprocessing, preprocessing
from volseg.inference.guarding import guarded_postprocessing
from volseg.inference.plausibility import CavityGuard
from volseg.inference.predictor import Predictor
from volseg.inference.sliding_window import SlidingWindow

SURE, UNSURE, TISSUE = 20.0, 72.0, 150.0
"""Intensities for which the network says 0.95, 0.6 and 0.03."""


class Falling(torch.nn.Module):
    """The darker, the more of a cavity: a logit of 4 - x / 20."""

    def forward(self, x):
        return torch.cat([torch.zeros_like(x), 4 - x / 20], dim=1)


def prepare():
    return preprocessing(["image"], spacing=(3, 3, 3), normalizer=lambda case: case)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Write tissue with two dark blocks, on a left-handed anisotropic grid."""
    values = np.full((20, 18, 16), TISSUE, np.float32)
    values[3:8, 3:8, 3:8] = SURE
    values[12:16, 12:16, 10:14] = UNSURE
    path = tmp_path_factory.mktemp("guarding") / "a.nii.gz"
    nib.save(nib.Nifti1Image(values, np.diag([-4.0, 3, 5, 1])), path)
    return path


def run(image, build, *args):
    """Do what MONAI Label does: every step by itself."""
    case = {"image": str(image), "image_path": str(image)}
    there = prepare()
    back = build(*args, there)
    for step in there.transforms:
        case = step(case)
    case["pred"] = SlidingWindow((16, 16, 16))(case["image"][None], Falling())[0]
    for step in back.transforms:
        case = step(case)
    return case


def test_monai_gets_the_mask_that_volseg_writes(image, caplog):
    guard = CavityGuard(least_ml=2.0, convincing_ml=2.0)
    with caplog.at_level(logging.WARNING):
        case = run(image, guarded_postprocessing, guard)
    classes = {0: "background", 1: "cavity"}
    window = SlidingWindow((16, 16, 16))
    expected = Predictor(Falling(), prepare(), window, classes, guard=guard).predict(image)
    assert np.array_equal(case["pred"][0].numpy(), expected.labels)
    assert case["pred"].dtype == torch.uint8
    assert tuple(case["result"]["warnings"]) == tuple(expected.warnings)
    assert case["result"]["findings"] == dict(expected.findings)
    assert "removed" in caplog.text
    assert str(image) in caplog.text
    assert "probabilities" not in case


def test_only_the_part_with_evidence_is_left(image):
    plain = run(image, postprocessing)["pred"][0].numpy()
    guard = CavityGuard(least_ml=2.0, convincing_ml=2.0)
    guarded = run(image, guarded_postprocessing, guard)["pred"][0].numpy()
    # 64 voxels of 60 mm3 with a probability of at most 0.6: less than 0.8 mL of evidence
    assert plain[13:15, 13:15, 11:13].all()
    assert not guarded[10:, 10:, 8:].any()
    # 125 voxels with up to 0.95: up to 6.8 mL
    assert np.array_equal(guarded[:10, :10, :10], plain[:10, :10, :10])
    assert guarded[4:7, 4:7, 4:7].all()


def test_the_mask_is_saved_after_it_was_judged(image, tmp_path):
    guard = CavityGuard("preop")
    run(image, lambda there: guarded_postprocessing(guard, there, tmp_path, image.parent))
    assert not np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj).any()
