"""The way back to the image's grid of a bundle that has a guard, for MONAI's engines and clients.

`volseg.inference.predictor.Predictor` asks the guard by itself. ``monai.bundle run`` and MONAI
Label know nothing of it: they carry out the steps of ``postprocessing``, so it has to be one of
them.
"""

import logging
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, SaveImaged, Transform
from torch import Tensor

from volseg.data.geometry import Grid
from volseg.data.pipelines import postprocessing
from volseg.inference.plausibility import Evidence, Guard

PROBABILITIES = "probabilities"
"""Key of what is kept for the guard while the logits turn into labels."""

RESULT = "result"
"""Key of what MONAI Label sends to its client beside the mask."""

Case = Mapping[Hashable, Any]

logger = logging.getLogger(__name__)


def guarded_postprocessing(
    guard: Guard,
    transform: Compose,
    output_dir: str | Path | None = None,
    data_root: str | Path | None = None,
    *,
    writes: bool = True,
) -> Compose:
    """Build what brings logits back to a label map that a guard has judged.

    Args:
        guard: Judges each label map before it is written.
        transform: The preprocessing of the same run, whose geometry is undone.
        output_dir: As for `volseg.data.pipelines.postprocessing`.
        data_root: As for `volseg.data.pipelines.postprocessing`.
        writes: Whether to write at all; MONAI Label writes by itself.

    Returns:
        The transform of ``pred``, ``(K, X, Y, Z)``, to ``(1, X, Y, Z)``, uint8. What the guard
        found stands in ``result``, and its warnings in the log.
    """
    steps = postprocessing(transform, output_dir, data_root, writes=writes).transforms
    way_back = [step for step in steps if not isinstance(step, SaveImaged)]
    saving = [step for step in steps if isinstance(step, SaveImaged)]
    return Compose([KeepProbabilities(), *way_back, AskGuard(guard), *saving])


class KeepProbabilities(Transform):
    """Keeps the probabilities of the classes on the network's grid."""

    def __call__(self, case: Case) -> dict[Hashable, Any]:
        """Keep them.

        Args:
            case: A case with logits as ``pred``.

        Returns:
            The case with its ``probabilities``, a plain tensor.
        """
        logits: Tensor = case["pred"].as_subclass(Tensor)
        return {**case, PROBABILITIES: logits.softmax(0)}


class AskGuard(Transform):
    """Lets a guard judge a label map that lies on the image's own grid.

    Args:
        guard: The guard.
    """

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    def __call__(self, case: Case) -> dict[Hashable, Any]:
        """Judge one case.

        Args:
            case: ``image`` on the network's grid, ``probabilities`` on the same, and ``pred``, the
                label map ``(1, X, Y, Z)``.

        Returns:
            The case without ``probabilities``, with the label map that is to be written and what
            the guard found as ``result``.
        """
        judged = dict(case)
        image, pred = judged["image"], judged["pred"]
        evidence = Evidence(
            pred[0].cpu().numpy(),
            Grid(tuple(pred.shape[1:]), pred.affine.cpu()),
            judged.pop(PROBABILITIES),
            image.as_subclass(Tensor),
            np.asarray(image.affine.cpu(), dtype=np.float64),
        )
        verdict = self.guard.judge(evidence)
        labels = torch.from_numpy(np.ascontiguousarray(verdict.labels)).to(pred.device)
        pred[0] = labels.to(pred.dtype)
        for warning in verdict.warnings:
            logger.warning("%s: %s", image.meta.get("filename_or_obj", "image"), warning)
        said = {"findings": dict(verdict.findings), "warnings": list(verdict.warnings)}
        judged[RESULT] = {**judged.get(RESULT, {}), **said}
        return judged
