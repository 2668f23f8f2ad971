"""The demo's last part: the volume through the engine of ``volseg segment``, scored on the back."""

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray

from volseg.data.pipelines import preprocessing
from volseg.engines.distributed import device
from volseg.errors import VolsegError
from volseg.evaluation.metrics import dice
from volseg.inference.folder import segment_folder
from volseg.inference.predictor import Predictor
from volseg.inference.sliding_window import SlidingWindow
from volseg.networks.segmenter import Segmenter
from volseg.workflows.demo_data import BACK_MM, CLASSES, FRONT_MM, DemoData, first_in_front
from volseg.workflows.demo_pictures import draw_overlays
from volseg.workflows.demo_settings import DemoSettings


def segment_volume(
    data: DemoData, networks: Mapping[str, Segmenter], output: Path, settings: DemoSettings
) -> dict[str, Path]:
    """Segment the whole template with each network.

    Args:
        data: The files.
        networks: Trained segmenters by arm.
        output: Folder of the masks, one folder an arm.
        settings: Spacing, patch and device.

    Returns:
        The mask of each arm, on the template's own grid.

    Raises:
        VolsegError: If the engine reports a failure.
    """
    masks = {}
    for arm, network in networks.items():
        predictor = Predictor(
            network,
            preprocessing(("image",), settings.spacing),
            SlidingWindow(settings.patch_size),
            dict(enumerate(CLASSES)),
            device(settings.device),
        )
        folder = output / arm.replace(" ", "_")
        summary = segment_folder([data.image], folder, predictor, progress=settings.progress)
        if not summary.is_complete:
            raise VolsegError(f"the template was not segmented: {summary}")
        masks[arm] = Path(summary.cases[0].target)
    return masks


def score_back(data: DemoData, masks: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    """Compare the masks with the template's tissues where nothing was trained.

    Args:
        data: The files.
        masks: Mask files by arm.

    Returns:
        Dice by class by arm.
    """
    back = data.test_voxels()
    reference = _labels(data.label)[back]
    return {
        arm: {
            CLASSES[value]: _dice(_labels(path)[back] == value, reference == value)
            for value in range(1, len(CLASSES))
        }
        for arm, path in masks.items()
    }


def draw_masks(path: Path, data: DemoData, masks: Mapping[str, Path]) -> None:
    """Draw the reference and the masks on slices.

    Args:
        path: The PNG file.
        data: The files.
        masks: Mask files by arm.
    """
    image = nib.load(data.image)
    cut = first_in_front(image.shape, image.affine, (FRONT_MM + BACK_MM) / 2)
    rows = {"reference": data.label, **masks}
    labels = {name: _labels(file) for name, file in rows.items()}
    draw_overlays(path, np.asarray(image.dataobj), labels, cut)


def _labels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(nib.load(path).dataobj)


def _dice(prediction: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    return dice(torch.from_numpy(prediction), torch.from_numpy(reference))
