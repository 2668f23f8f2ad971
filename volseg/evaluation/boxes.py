"""How well boxes find lesions: matched by overlap, from the best score down.

Boxes are taken in the order of their scores; each finds the lesion with which its intersection over
union is largest among those that are not found yet, if it is large enough. A box that finds none is
a false positive, be it the second one of a lesion. This is the matching of COCO, and what it gives
goes into the curve of `volseg.evaluation.lesions` and into MONAI's average precision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from monai.apps.detection.metrics.coco import COCOMetric
from monai.apps.detection.metrics.matching import matching_batch
from monai.data.box_utils import box_iou
from numpy.typing import NDArray

Boxes = NDArray[np.float64]

RANGE = (0.1, 0.5, 0.05)
"""Least intersections over union that are averaged: first, last and step, as in nnDetection."""

POINTS = (0.1, 0.3, 0.5)
"""Least intersections over union that are given by themselves."""

MOST = 100
"""Boxes of a scan that count for the average precision."""


@dataclass(frozen=True)
class ScanMatch:
    """What is compared in one scan.

    Args:
        boxes: The boxes that were found, in any unit along any axes, ``(N, 6)``.
        scores: Their scores, ``(N,)``.
        lesions: The boxes of the lesions, likewise, ``(M, 6)``.
    """

    boxes: Boxes
    scores: NDArray[np.float64]
    lesions: Boxes


def match_boxes(scan: ScanMatch, least_overlap: float) -> tuple[list[float], list[float]]:
    """Find out which lesions were found, and which boxes find none.

    Args:
        scan: The boxes of a scan.
        least_overlap: Least intersection over union of a box and the lesion that it finds.

    Returns:
        The score of the box that finds each lesion, ``-inf`` if there is none; and the scores of
        the boxes that find none.
    """
    found = [-np.inf] * len(scan.lesions)
    false: list[float] = []
    overlaps = np.zeros((len(scan.boxes), len(scan.lesions)))
    if overlaps.size:
        overlaps = _overlaps(scan.boxes, scan.lesions)
    for index in np.argsort(-scan.scores, kind="stable"):
        free = np.where(np.isneginf(found), overlaps[index], -1.0)
        best = int(free.argmax()) if len(found) else -1
        if best >= 0 and free[best] >= least_overlap and free[best] > 0:
            found[best] = float(scan.scores[index])
        else:
            false.append(float(scan.scores[index]))
    return found, false


def average_precision(scans: Sequence[ScanMatch]) -> Mapping[str, float]:
    """Compute MONAI's average precision over all scans.

    Args:
        scans: The boxes of each scan, at least one with a lesion.

    Returns:
        ``map``, the mean over least intersections over union of 0.1 to 0.5, and ``ap_0.1``,
        ``ap_0.3`` and ``ap_0.5``.
    """
    coco = COCOMetric(["lesion"], POINTS, RANGE, (MOST,), per_class=False, verbose=False)
    matched = matching_batch(
        _overlaps,
        coco.get_iou_thresholds(),
        [scan.boxes for scan in scans],
        [np.zeros(len(scan.boxes), int) for scan in scans],
        [scan.scores for scan in scans],
        [scan.lesions for scan in scans],
        [np.zeros(len(scan.lesions), int) for scan in scans],
        max_detections=MOST,
    )
    values, _ = coco(matched)
    mean = next(value for key, value in values.items() if key.startswith("mAP"))
    single = {f"ap_{p:g}": float(values[f"AP_IoU_{p:.2f}_MaxDet_{MOST}"]) for p in POINTS}
    return {"map": float(mean), **single}


def _overlaps(some: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(box_iou(some, others))
