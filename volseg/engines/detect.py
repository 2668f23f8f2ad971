"""Training and validating a detector of lesions: the MONAI trainer and evaluator."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ignite.metrics import Metric
from monai.apps.detection.metrics.coco import COCOMetric
from monai.apps.detection.metrics.matching import matching_batch
from monai.data.box_utils import box_iou
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.inferers import Inferer
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from volseg.data.draws import Draws
from volseg.engines import distributed
from volseg.engines.build import Training, build_trainer
from volseg.engines.card import begin_card
from volseg.engines.learner import Compute
from volseg.engines.loop import Loop
from volseg.engines.optimisation import Optimisation
from volseg.engines.whole import Judgement, build_evaluator, saving
from volseg.errors import DataError, VolsegError
from volseg.networks.anchored_boxes import AnchoredBoxes
from volseg.networks.detector import LOGITS, OFFSETS, Detector
from volseg.pretext.task import PretextResult
from volseg.transforms.boxes import BOXES, CLASSES

PRECISION, RECALL = "val_map", "val_sensitivity"

OVERLAPS = (0.1, 0.5, 0.05)
"""Least intersection over union at which a box counts: first, last and step, as in nnDetection."""

MOST = 100
"""Boxes of a scan that are scored."""


def detection_trainer(
    network: Detector,
    dataset: Dataset[Any],
    augmentation: Any,
    max_epochs: int,
    optimisation: Optimisation,
    loop: Loop,
    evaluator: SupervisedEvaluator | None = None,
    train_handlers: Sequence[Any] = (),
) -> SupervisedTrainer:
    """Build the trainer of a detector.

    After every epoch it writes the last weights to ``models/model.pt`` and
    ``models/model.safetensors``, and those of the best validation to ``models/best.safetensors``.

    Args:
        network: The network to train.
        dataset: Preprocessed cases, ``{"image": (C, X, Y, Z), "boxes": (N, 6), "classes": (N,)}``.
        augmentation: Random transform from a case to a crop with padded boxes, with
            ``set_random_state``.
        max_epochs: Epochs in all.
        optimisation: How it learns; it takes no loss.
        loop: Where, on what and from which seed it runs.
        evaluator: Validates the same network, from `detection_evaluator`.
        train_handlers: More MONAI handlers.

    Returns:
        The trainer; ``run()`` starts it.

    Raises:
        VolsegError: If the optimisation has a loss.
    """
    if optimisation.loss is not None:
        raise VolsegError(f"the loss of a detector is RetinaNet's; leave out {optimisation.loss}")
    _require_lesions(dataset)
    place = distributed.device(loop.device)
    distributed.start(place)
    card = begin_card(loop.card, network, dataset)

    draws = Draws(dataset, augmentation, loop.seed)
    compute = _computing(AnchoredBoxes(network), place)
    save = saving(network, card, loop)
    training = Training(network.to(place), compute, draws, save, evaluator)
    return build_trainer(training, max_epochs, optimisation, loop, train_handlers)


def _computing(boxes: AnchoredBoxes, place: torch.device) -> Compute:
    """Make what computes the loss of a batch."""
    boxes.prepare_training()

    def compute(
        parallel: nn.Module,
        batch: Mapping[str, Any],
        *,
        panels: bool,  # noqa: ARG001 - there is nothing to draw
    ) -> PretextResult:
        image = batch["image"]
        output = parallel(image)
        with torch.autocast(place.type, enabled=False):
            depth, height, width = image.shape[2:]
            parts = boxes.losses(output, (depth, height, width), _targets(batch))
        loss = torch.stack([part.to(output.device) for part in parts.values()]).sum()
        said = {"classes": parts[LOGITS].detach(), "offsets": parts[OFFSETS].detach()}
        return PretextResult(loss, said)

    return compute


def detection_evaluator(
    network: Detector,
    dataset: Dataset[Any],
    inferer: Inferer,
    device: str | torch.device = "auto",
    precision: str = "fp32",
    val_handlers: Sequence[Any] = (),
) -> SupervisedEvaluator:
    """Build the evaluator: whole volumes, one by one, on the preprocessed grid.

    ``val_map`` is MONAI's mean average precision over least intersections over union of 0.1 to 0.5,
    and ``val_sensitivity`` the share of lesions that any box finds, averaged over the same.
    Every process validates all cases.

    Args:
        network: The network to validate, often one in training.
        dataset: Preprocessed cases, ``{"image": (C, X, Y, Z), "boxes": (N, 6), "classes": (N,)}``.
        inferer: Applies the network to a volume, such as `volseg.networks.box_windows.BoxWindows`.
        device: Where to compute.
        precision: ``fp32``, ``bf16``, ``fp16`` or ``auto``.
        val_handlers: More MONAI handlers.

    Returns:
        The evaluator; its metrics stand in ``state.metrics`` after ``run()``.
    """

    def pair(batch: Mapping[str, Any], found: Sequence[Tensor]) -> dict[str, Any]:
        return {"pred": found[0].float().cpu(), **{key: batch[key][0] for key in (BOXES, CLASSES)}}

    matches = _Matches(network.num_classes - 1)
    others = {RECALL: matches.recall()}
    judgement = Judgement(pair, {PRECISION: matches}, others, val_handlers)
    return build_evaluator(network, dataset, inferer, device, precision, judgement)


class _Matches(Metric):
    """MONAI's average precision over all volumes, or the recall that goes with it."""

    def __init__(self, num_lesions: int, *, is_recall: bool = False) -> None:
        self.num_lesions = num_lesions
        self.is_recall = is_recall
        self.results: list[Any] = []
        super().__init__(lambda output: tuple(output[key] for key in ("pred", BOXES, CLASSES)))

    def recall(self) -> "_Matches":
        """Make the metric that gives the recall."""
        return _Matches(self.num_lesions, is_recall=True)

    def reset(self) -> None:
        self.results = []

    def update(self, output: Sequence[Tensor]) -> None:
        pred, truth, classes = map(np.asarray, output)
        coco = self._coco()
        self.results += matching_batch(
            _overlaps,
            coco.get_iou_thresholds(),
            [pred[:, :6]],
            [pred[:, 7].astype(int)],
            [pred[:, 6]],
            [truth],
            [classes],
            max_detections=MOST,
        )

    def compute(self) -> float:
        if not any(found["gtMatches"].shape[1] for one in self.results for found in one.values()):
            raise DataError("no case that validates holds a lesion; divide the cases otherwise")
        values, _ = self._coco()(self.results)
        kind = "mAR" if self.is_recall else "mAP"
        return float(next(value for key, value in values.items() if key.startswith(kind)))

    def _coco(self) -> COCOMetric:
        names = [str(index) for index in range(self.num_lesions)]
        return COCOMetric(names, (), OVERLAPS, (MOST,), per_class=False, verbose=False)


def _overlaps(some: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(box_iou(some, others))


def _targets(batch: Mapping[str, Any]) -> list[dict[str, Tensor]]:
    """Take the padding off the boxes of each crop."""
    pairs = zip(batch[BOXES], batch[CLASSES], strict=True)
    return [{"boxes": box[kind >= 0], "labels": kind[kind >= 0]} for box, kind in pairs]


def _require_lesions(dataset: Dataset[Any]) -> None:
    count = len(dataset)  # type: ignore[arg-type] # datasets in use have a length
    if not any(len(dataset[index][BOXES]) for index in range(count)):
        raise DataError(
            f"none of the {count} cases that train holds a lesion; look at the label values, at"
            " label_map and at least_ml"
        )
