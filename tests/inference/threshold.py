"""A predictor whose right answer is known: class 1 where the image is above 100.25, 2 above 200.25.

No image of the tests holds a value at which two classes are equally probable.
"""

import nibabel as nib
import numpy as np
import torch
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Orientationd

from volseg.inference.predictor import Predictor
from volseg.inference.sliding_window import SlidingWindow
from volseg.transforms.intensity import ReplaceNonFinited

CLASSES = {0: "background", 1: "grey", 2: "white"}


class Threshold(torch.nn.Module):
    """Logits that cross at 100.25 and at 200.25."""

    def forward(self, x):
        return torch.cat([torch.zeros_like(x), x - 100.25, 2 * x - 300.5], dim=1)


def preprocessing():
    """Bring an image to the RAS axes, and replace what is no number."""
    keys = ["image"]
    return Compose(
        [
            LoadImaged(keys),
            EnsureChannelFirstd(keys),
            ReplaceNonFinited(keys),
            Orientationd(keys, axcodes="RAS"),
        ]
    )


def threshold_predictor(window=8):
    """Build the predictor."""
    inferer = SlidingWindow((window,) * 3, overlap=0.25)
    return Predictor(Threshold(), preprocessing(), inferer, CLASSES)


def save_image(path, *, shape=(9, 10, 11), affine=None, seed=0):
    """Write a volume of three grey values; give it."""
    values = np.random.default_rng(seed).choice([0, 150, 250], size=shape).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, np.diag([1, 1, 2, 1]) if affine is None else affine), path)
    return values


def expected_labels(values):
    """Give the right answer."""
    return np.digitize(values, [100.25, 200.25]).astype(np.uint8)
