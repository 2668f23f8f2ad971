"""Using a trained network through MONAI: the evaluator of every ``inference.json``."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator
from monai.inferers import Inferer
from monai.transforms import Transform
from torch.utils.data import Dataset

from volseg.engines import distributed
from volseg.errors import WeightsError
from volseg.networks.classifier import Classifier
from volseg.networks.detector import Detector
from volseg.networks.embedder import Embedder
from volseg.networks.segmenter import Segmenter
from volseg.networks.weights import load_encoder, load_segmenter

logger = logging.getLogger(__name__)


def inference_evaluator(
    network: Segmenter | Classifier | Detector | Embedder,
    weights: str | Path,
    dataset: Dataset[Any],
    inferer: Inferer,
    postprocessing: Transform,
    device: str = "auto",
    val_handlers: Sequence[Any] = (),
) -> SupervisedEvaluator:
    """Build the evaluator that applies a trained network to a data set, case by case.

    Args:
        network: The network.
        weights: Its weights; they are read when the run starts, and must fit.
        dataset: Preprocessed cases, ``{"image": (C, X, Y, Z)}``.
        inferer: Applies the network to a volume.
        postprocessing: Turns the case with its ``pred`` into what is kept, and saves it.
        device: Where to compute.
        val_handlers: More MONAI handlers.

    Returns:
        The evaluator; ``run()`` starts it.
    """
    place = distributed.device(device)
    return SupervisedEvaluator(
        device=place,
        val_data_loader=DataLoader(dataset, batch_size=1),
        network=network.to(place),
        inferer=inferer,
        postprocessing=postprocessing,
        val_handlers=[LoadWeights(network, Path(weights)), *val_handlers],
    )


class LoadWeights:
    """A handler that loads weights when a run starts, and stops it if they do not fit.

    Args:
        network: What takes the weights.
        path: The file.
    """

    def __init__(self, network: Segmenter | Classifier | Detector | Embedder, path: Path) -> None:
        self.network = network
        self.path = path

    def attach(self, engine: Engine) -> None:
        """Listen to an engine.

        Args:
            engine: The engine.
        """
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:  # noqa: ARG002 - ignite passes it
        """Load the weights.

        Args:
            engine: The engine.

        Raises:
            WeightsError: If there are none, or they do not fit.
        """
        if not self.path.is_file():
            raise WeightsError(
                f"{self.path} is not there, and random weights are of no use; train the bundle,"
                " or name the file as weights"
            )
        if isinstance(self.network, (Segmenter, Classifier, Detector)):
            receipt = load_segmenter(self.network, self.path)
        else:
            receipt = load_encoder(self.network.encoder, self.path)
        logger.info("%s", receipt)
