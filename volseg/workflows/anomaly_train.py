"""Train an anomaly model on normal volumes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from volseg.data.cases import Case, find_cases
from volseg.data.pipelines import preprocessing
from volseg.data.reading import read_source, source_of
from volseg.engines import distributed
from volseg.engines.anomaly import AnomalyTraining, train_autoencoder
from volseg.errors import DataError
from volseg.inference.anomaly import WEIGHTS, AnomalyCard, AnomalyDetector, network_view
from volseg.inference.preparation import without_loading
from volseg.inference.work_list import require_writable
from volseg.workflows.record import recording


@dataclass(frozen=True)
class AnomalySettings:
    """What is trained.

    Args:
        bottleneck: ``transformer``, or ``convolution`` for the plain control.
        spacing: Voxel edge of the network's grid, in mm.
        widths: Channels of its stages.
        training: Crops, steps and seed.
        device: Where it is trained.
        overwrite: Whether a model that is there already may be replaced.
        progress: Whether to draw a bar on stderr.
    """

    bottleneck: str = "transformer"
    spacing: float = 2.0
    widths: tuple[int, ...] = (16, 32, 64)
    training: AnomalyTraining = field(default_factory=AnomalyTraining)
    device: str = "auto"
    overwrite: bool = False
    progress: bool = False


@dataclass(frozen=True)
class AnomalyModel:
    """What was trained.

    Args:
        path: The weights.
        card: What they are.
        losses: Loss at each step.
    """

    path: Path
    card: AnomalyCard
    losses: Sequence[float]

    @property
    def last_loss(self) -> float:
        """Give the mean loss of the last tenth of the steps."""
        return float(np.mean(self.losses[-max(1, len(self.losses) // 10) :]))

    def __str__(self) -> str:
        """Say what was trained and where it lies."""
        said = f"{self.card.bottleneck} on {self.card.cases} normal volumes"
        return f"{said}: loss {self.last_loss:.4f}\nwrote {self.path}"

    def to_json(self) -> dict[str, Any]:
        """Give plain values."""
        return {
            "weights": str(self.path),
            "card": asdict(self.card),
            "last_loss": self.last_loss,
            "losses": list(self.losses),
        }


def train_anomaly(
    data: str | Path, output: str | Path, settings: AnomalySettings | None = None
) -> AnomalyModel:
    """Train an autoencoder on normal volumes; labels, if there are any, are not read.

    Args:
        data: What `find_cases` takes; every case must be normal.
        output: Folder of the model.
        settings: What is trained.

    Returns:
        The model.

    Raises:
        DataError: If a model is there already, or there is nothing in the volumes.
    """
    settings, folder = settings or AnomalySettings(), Path(output)
    if (folder / WEIGHTS).exists() and not settings.overwrite:
        raise DataError(f"{folder / WEIGHTS} exists; allow overwriting or use another output")
    cases = find_cases(data)
    require_writable(folder)
    place = distributed.device(settings.device)
    inputs = [path for case in cases for path in case.images]
    with recording(folder, "anomaly train", asdict(settings), inputs, place) as record:
        preprocess = without_loading(preprocessing(spacing=(settings.spacing,) * 3))
        readings = (read_source(source_of(only_image(case))) for case in cases)
        volumes = [network_view(preprocess, reading)[0] for reading in readings]
        if empty := [c.name for c, v in zip(cases, volumes, strict=True) if v.min() == v.max()]:
            raise DataError(f"{empty[0]} is constant; there is nothing to learn from it")
        training = settings.training
        card = AnomalyCard(
            settings.spacing,
            training.size,
            settings.widths,
            settings.bottleneck,
            len(cases),
            training.steps,
            training.seed,
        )
        network = card.build()
        losses = train_autoencoder(network, volumes, training, place, progress=settings.progress)
        path = AnomalyDetector(network, card, place).save(folder)
        model = AnomalyModel(path, card, losses)
        record["results"] = {"last_loss": model.last_loss}
    return model


def only_image(case: Case) -> Path:
    """Give the image of a case of one channel.

    Args:
        case: The case.

    Returns:
        Its file.

    Raises:
        DataError: If it has none or several.
    """
    if len(case.images) != 1:
        raise DataError(f"{case.name} has {len(case.images)} images; an anomaly model takes one")
    return case.images[0]
