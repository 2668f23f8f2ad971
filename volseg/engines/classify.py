"""Training and validating a classifier of volumes: the MONAI trainer and evaluator."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ignite.metrics import EpochMetric, Metric
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.inferers import Inferer
from sklearn.metrics import cohen_kappa_score, recall_score, roc_auc_score
from torch import Tensor, nn
from torch.utils.data import Dataset

from volseg.data.draws import Draws
from volseg.engines import distributed
from volseg.engines.build import Training, build_trainer
from volseg.engines.card import begin_card
from volseg.engines.loop import Loop
from volseg.engines.optimisation import Optimisation
from volseg.engines.whole import Judgement, build_evaluator, saving
from volseg.networks.classifier import Classifier
from volseg.pretext.task import PretextResult

AUC, ACCURACY, KAPPA = "val_auc", "val_balanced_accuracy", "val_kappa"


def classification_trainer(
    network: Classifier,
    dataset: Dataset[Any],
    augmentation: Any,
    max_epochs: int,
    optimisation: Optimisation,
    loop: Loop,
    evaluator: SupervisedEvaluator | None = None,
    train_handlers: Sequence[Any] = (),
) -> SupervisedTrainer:
    """Build the trainer of a classifier.

    After every epoch it writes the last weights to ``models/model.pt`` and
    ``models/model.safetensors``, and those of the best validation to ``models/best.safetensors``.

    Args:
        network: The network to train.
        dataset: Preprocessed cases, ``{"image": (C, X, Y, Z), "label": number}``.
        augmentation: Random transform from a case to a crop, with ``set_random_state``.
        max_epochs: Epochs in all.
        optimisation: How it learns; its loss compares logits, ``(B, K)``, with class numbers,
            ``(B,)``, and defaults to cross-entropy in which every class of the dataset weighs the
            same in all.
        loop: Where, on what and from which seed it runs.
        evaluator: Validates the same network, from `classification_evaluator`.
        train_handlers: More MONAI handlers.

    Returns:
        The trainer; ``run()`` starts it.
    """
    place = distributed.device(loop.device)
    distributed.start(place)
    card = begin_card(loop.card, network, dataset)
    loss = optimisation.loss or _balanced_cross_entropy(dataset, network.num_classes)
    loss = loss.to(place)

    def compute(
        parallel: nn.Module,
        batch: Mapping[str, Any],
        *,
        panels: bool,  # noqa: ARG001 - there is nothing to draw
    ) -> PretextResult:
        logits = parallel(batch["image"])
        with torch.autocast(place.type, enabled=False):
            return PretextResult(loss(logits.float(), batch["label"].long()))

    draws = Draws(dataset, augmentation, loop.seed)
    save = saving(network, card, loop)
    training = Training(network.to(place), compute, draws, save, evaluator)
    return build_trainer(training, max_epochs, optimisation, loop, train_handlers)


def classification_evaluator(
    network: nn.Module,
    dataset: Dataset[Any],
    inferer: Inferer,
    device: str | torch.device = "auto",
    precision: str = "fp32",
    val_handlers: Sequence[Any] = (),
    *,
    is_graded: bool = False,
) -> SupervisedEvaluator:
    """Build the evaluator: whole volumes, one by one.

    ``val_auc`` is the mean over classes of the area under the curve of each against all others,
    ``val_balanced_accuracy`` the mean over classes of the share recognised, and ``val_kappa`` the
    quadratically weighted agreement, which means something for grades alone. Every process
    validates all cases.

    Args:
        network: The network to validate, often one in training.
        dataset: Preprocessed cases, ``{"image": (C, X, Y, Z), "label": number}``.
        inferer: Applies the network to a volume.
        device: Where to compute.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        val_handlers: More MONAI handlers.
        is_graded: Whether the order of the classes counts: the best weights are then those of the
            best kappa, else of the best AUC.

    Returns:
        The evaluator; its metrics stand in ``state.metrics`` after ``run()``.
    """

    def pair(batch: Mapping[str, Any], logits: Tensor) -> dict[str, Tensor]:
        return {"pred": logits.float().softmax(1), "label": torch.as_tensor(batch["label"])}

    metrics: dict[str, Metric] = {
        AUC: _metric(_area),
        ACCURACY: _metric(_accuracy),
        KAPPA: _metric(_kappa),
    }
    key = KAPPA if is_graded else AUC
    judgement = Judgement(pair, {key: metrics.pop(key)}, metrics, val_handlers)
    return build_evaluator(network, dataset, inferer, device, precision, judgement)


def _metric(compute: Any) -> EpochMetric:
    return EpochMetric(
        lambda chances, truth: float(compute(chances.cpu().numpy(), truth.cpu().numpy())),
        output_transform=lambda output: (output["pred"].cpu(), output["label"].cpu()),
        check_compute_fn=False,
    )


def _area(chances: Any, truth: Any) -> float:
    """Leave out classes that do not occur; 0.5 if nothing can be told apart."""
    there = [k for k in range(chances.shape[1]) if 0 < (truth == k).sum() < len(truth)]
    areas = [roc_auc_score(truth == k, chances[:, k]) for k in there]
    return sum(areas) / len(areas) if areas else 0.5


def _accuracy(chances: Any, truth: Any) -> float:
    classes = sorted(set(truth.tolist()))
    shares = recall_score(truth, chances.argmax(1), labels=classes, average=None)
    return float(shares.mean())  # a predicted class that does not occur is no reason to warn


def _kappa(chances: Any, truth: Any) -> float:
    predicted, grades = chances.argmax(1), list(range(chances.shape[1]))
    if len({*predicted.tolist(), *truth.tolist()}) < 2:
        return 0.0
    return float(cohen_kappa_score(truth, predicted, labels=grades, weights="quadratic"))


def _balanced_cross_entropy(dataset: Dataset[Any], num_classes: int) -> nn.Module:
    """Weigh each class against its frequency; one that does not occur weighs nothing."""
    count = len(dataset)  # type: ignore[arg-type] # datasets in use have a length
    source = getattr(dataset, "data", dataset)  # labels are there before any image is read
    labels = torch.tensor([int(source[index]["label"]) for index in range(count)])
    found = torch.bincount(labels, minlength=num_classes)
    weights = torch.where(found > 0, count / (num_classes * found.clamp(min=1)), 0.0)
    return nn.CrossEntropyLoss(weight=weights)
