"""From the file of an image to a label map on the image's own grid, and to its file.

Class probabilities, not labels, are brought back to the grid of the image, where the most probable
class wins, so that no label is ever interpolated. A mask counts as written only once it has been
read back and found equal.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from monai.inferers import Inferer
from numpy.typing import NDArray
from torch import nn

from volseg.bundle import Bundle
from volseg.data.geometry import Grid, to_native_grid, verify_mask, write_mask
from volseg.data.volumes import inspect_volume, read_grid, read_volume
from volseg.errors import BundleError, DataError, GeometryError, WeightsError
from volseg.inference.plausibility import Evidence, Guard
from volseg.networks.weights import load_segmenter


@dataclass(frozen=True)
class Prediction:
    """A label map on the grid of its image.

    Args:
        labels: Label of each voxel, in the axis order of the image's file.
        grid: Grid of the image.
        source: File of the image.
        warnings: What is unusual about the image, or about what was found in it.
        findings: What the bundle's guard has measured, as plain values.
    """

    labels: NDArray[np.integer]
    grid: Grid
    source: Path
    warnings: tuple[str, ...] = ()
    findings: Mapping[str, Any] = field(default_factory=dict)

    def volumes(self, classes: Mapping[int, str]) -> dict[str, float]:
        """Measure the classes; the voxel's volume is the determinant of the affine.

        Args:
            classes: Name of each label value; the background, 0, is left out.

        Returns:
            Volume of each class in mL, by name.
        """
        voxel = abs(float(np.linalg.det(np.asarray(self.grid.affine)[:3, :3]))) / 1000
        counts = np.bincount(self.labels.ravel(), minlength=max(classes) + 1)
        return {name: float(counts[value] * voxel) for value, name in classes.items() if value}


class Predictor:
    """A network with everything that it needs to segment a file.

    Args:
        network: From ``(B, C, D, H, W)`` to logits ``(B, K, D, H, W)``; moved to ``device``.
        preprocessing: From ``{"image": path}`` to ``{"image": MetaTensor (C, D, H, W)}``.
        inferer: Applies the network to a volume of any size.
        classes: Name of each label value, 0 to K - 1; 0 is the background.
        device: Where the network runs.
        guard: Judges each label map before it is written; `None`: all are taken as they are.

    Raises:
        BundleError: If the label values are not 0 to K - 1.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Callable[[dict[str, str]], dict[str, Any]],
        inferer: Inferer,
        classes: Mapping[int, str],
        device: torch.device | str = "cpu",
        guard: Guard | None = None,
    ) -> None:
        if sorted(classes) != list(range(len(classes))):
            raise BundleError(f"label values are {sorted(classes)}; use 0 to {len(classes) - 1}")
        self.network = network.to(device).eval()
        self.preprocessing = preprocessing
        self.inferer = inferer
        self.classes = dict(sorted(classes.items()))
        self.device = torch.device(device)
        self.guard = guard

    @classmethod
    def from_bundle(
        cls,
        bundle: Bundle,
        device: torch.device | str = "cpu",
        overrides: Mapping[str, Any] | None = None,
    ) -> Self:
        """Build the predictor that a bundle describes, with its weights.

        Args:
            bundle: A segmentation bundle.
            device: Where the network runs.
            overrides: Values of the inference configuration to replace, by id.

        Returns:
            The predictor, ready.
        """
        config = bundle.config("inference", dict(overrides or {}))
        network = config.get_parsed_content("network_def")
        load_segmenter(network, bundle.weights())
        preprocessing = config.get_parsed_content("preprocessing")
        inferer = config.get_parsed_content("inferer")
        guard = config.get_parsed_content("guard") if "guard" in config else None
        return cls(network, preprocessing, inferer, bundle.classes(), device, guard)

    def predict(self, path: Path) -> Prediction:
        """Segment one image.

        Args:
            path: A NIfTI file of a 3D volume.

        Returns:
            Its label map, on its own grid.

        Raises:
            DataError: If the file cannot be used.
            WeightsError: If the network gives another number of classes than were named.
        """
        report = inspect_volume(path)
        if report.problems:
            raise DataError(f"{path}: {report.problems[0]}")
        native = Grid(*read_grid(path)[1:])
        image = self.preprocessing({"image": str(path)})["image"]
        with torch.inference_mode():
            volume = image.as_tensor()[None].to(self.device)
            logits = self.inferer(volume, self.network)[0]
            if len(logits) != len(self.classes):
                raise WeightsError(
                    f"the network gives {len(logits)} classes and {len(self.classes)} are named:"
                    f" {', '.join(self.classes.values())}"
                )
            probabilities = logits.softmax(0)
            labels = to_native_grid(probabilities, image.affine, native)
        if self.guard is None:
            return Prediction(labels, native, path, tuple(report.warnings))
        affine = np.asarray(image.affine, dtype=np.float64)
        evidence = Evidence(labels, native, probabilities, image.as_tensor(), affine)
        verdict = self.guard.judge(evidence)
        warnings = (*report.warnings, *verdict.warnings)
        return Prediction(verdict.labels, native, path, warnings, verdict.findings)

    def save(self, prediction: Prediction, path: Path) -> None:
        """Write a label map; it gets its name only after it was read back and compared.

        Args:
            prediction: What `predict` gave.
            path: File to write, ``*.nii.gz``; replaced if it is there.

        Raises:
            GeometryError: If what was read back differs.
        """
        partial = path.with_name(f".{os.getpid()}.nii.gz")
        try:
            write_mask(partial, prediction.labels, prediction.source, self.classes)
            verify_mask(partial, prediction.source)
            changed = np.count_nonzero(read_volume(partial)[0] != prediction.labels)
            if changed:
                raise GeometryError(f"{path}: {changed} voxels read back with another label")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
