"""Training and validating a segmentation network: the MONAI trainer and evaluator."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import MeanDice
from monai.inferers import Inferer
from monai.losses import DiceCELoss
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from volseg.data.draws import Draws
from volseg.engines import distributed
from volseg.engines.build import Training, build_trainer
from volseg.engines.card import begin_card
from volseg.engines.loop import Loop
from volseg.engines.optimisation import Optimisation
from volseg.engines.whole import Judgement, build_evaluator, saving
from volseg.losses.deep_supervision import DeepSupervisionLoss
from volseg.networks.segmenter import Segmenter
from volseg.pretext.task import PretextResult

KEY_METRIC = "val_mean_dice"


def segmentation_trainer(
    network: Segmenter,
    dataset: Dataset[Any],
    augmentation: Any,
    max_epochs: int,
    optimisation: Optimisation,
    loop: Loop,
    evaluator: SupervisedEvaluator | None = None,
    train_handlers: Sequence[Any] = (),
) -> SupervisedTrainer:
    """Build the trainer of a segmentation network, with deep supervision.

    After every epoch it writes the last weights to ``models/model.pt`` (a plain state dict, for
    MONAI) and ``models/model.safetensors`` (with a card), and those of the best validation to
    ``models/best.safetensors``.

    Args:
        network: The network to train.
        dataset: Preprocessed cases, ``{"image": (C, X, Y, Z), "label": (1, X, Y, Z)}``.
        augmentation: Random transform from a case to a crop, with ``set_random_state``.
        max_epochs: Epochs in all.
        optimisation: How it learns; its loss defaults to Dice and cross-entropy.
        loop: Where, on what and from which seed it runs.
        evaluator: Validates the same network, from `segmentation_evaluator`.
        train_handlers: More MONAI handlers.

    Returns:
        The trainer; ``run()`` starts it.
    """
    place = distributed.device(loop.device)
    distributed.start(place)
    card = begin_card(loop.card, network, dataset)
    loss = DeepSupervisionLoss(optimisation.loss or dice_and_cross_entropy())

    def compute(parallel: nn.Module, batch: Mapping[str, Any], *, panels: bool) -> PretextResult:
        outputs = parallel(batch["image"], is_deep=True)
        with torch.autocast(place.type, enabled=False):
            value = loss(outputs, batch["label"])
        pictures = _panels(batch, outputs[0]) if panels else {}
        return PretextResult(value, panels=pictures)

    draws = Draws(dataset, augmentation, loop.seed)
    save = saving(network, card, loop)
    training = Training(network.to(place), compute, draws, save, evaluator)
    return build_trainer(training, max_epochs, optimisation, loop, train_handlers)


def dice_and_cross_entropy() -> nn.Module:
    """Make MONAI's sum of soft Dice and cross-entropy over softmax classes.

    The Dice is that of the whole batch, without background, as in nnU-Net (Isensee et al. 2021,
    https://doi.org/10.1038/s41592-020-01008-z), so that a crop without a class does no harm.
    """
    loss: nn.Module = DiceCELoss(
        include_background=False,
        to_onehot_y=True,
        softmax=True,
        batch=True,
        smooth_nr=1e-5,
        smooth_dr=1e-5,
    )
    return loss


def segmentation_evaluator(
    network: nn.Module,
    dataset: Dataset[Any],
    inferer: Inferer,
    num_classes: int,
    device: str | torch.device = "auto",
    precision: str = "fp32",
    val_handlers: Sequence[Any] = (),
) -> SupervisedEvaluator:
    """Build the evaluator: Dice of whole volumes, case by case, on the preprocessed grid.

    ``val_mean_dice`` is the mean over cases of the mean over classes; ``val_dice_1`` and so on are
    the means of one class over cases. A class that a case's reference lacks does not count for
    that case, whatever was predicted; ``volseg evaluate`` is stricter. Under ``torchrun`` each
    process takes its share of the cases.

    Args:
        network: The network to validate, often one in training.
        dataset: Preprocessed cases, ``{"image": (C, X, Y, Z), "label": (1, X, Y, Z)}``.
        inferer: Applies the network to whole volumes, such as a sliding window.
        num_classes: Classes, background included.
        device: Where to compute.
        precision: ``fp32``, ``bf16``, ``fp16`` or ``auto``.
        val_handlers: More MONAI handlers.

    Returns:
        The evaluator; its metrics stand in ``state.metrics`` after ``run()``.
    """
    place = distributed.device(device)

    def pair(batch: Mapping[str, Any], logits: Tensor) -> dict[str, Tensor]:
        label = batch["label"].as_subclass(Tensor).to(place)
        return {"pred": logits.argmax(1, keepdim=True), "label": label}

    distributed.start(place)
    metrics, handlers = {KEY_METRIC: _mean_dice(num_classes)}, [_ClassMeans(), *val_handlers]
    judgement = Judgement(pair, metrics, handlers=handlers)
    return build_evaluator(network, _share(dataset), inferer, place, precision, judgement)


class _ClassMeans:
    """Adds the mean Dice of each class to the metrics."""

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        details: dict[str, Tensor] = vars(engine.state)["metric_details"]  # MONAI adds it
        means = details[KEY_METRIC].nanmean(dim=0)
        for index, mean in enumerate(means.tolist(), start=1):
            engine.state.metrics[f"val_dice_{index}"] = mean


def _mean_dice(num_classes: int) -> MeanDice:
    return MeanDice(
        include_background=False,
        num_classes=num_classes,
        output_transform=lambda output: (output["pred"], output["label"]),
    )


def _share(dataset: Dataset[Any]) -> Dataset[Any]:
    size, world = len(dataset), distributed.world_size()  # type: ignore[arg-type] # MONAI's have one
    if size < world:
        return dataset
    return Subset(dataset, range(distributed.rank(), size, world))


def _panels(batch: Mapping[str, Any], logits: Tensor) -> dict[str, Tensor]:
    image = batch["image"][:, :1].detach()
    low, high = image.min(), image.max()
    scale = (high - low) / (logits.shape[1] - 1)
    prediction = logits.detach().argmax(1, keepdim=True)
    return {
        "image": image,
        "label": low + scale * batch["label"],
        "prediction": low + scale * prediction,
    }
