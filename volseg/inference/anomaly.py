"""From an image to a map of what is unusual in it, on its own grid, and one score."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray
from safetensors.torch import save as serialise
from torch import Tensor

from volseg import __version__
from volseg.data.pipelines import preprocessing
from volseg.data.scan import Scan, resample
from volseg.data.source import Reading
from volseg.errors import WeightsError
from volseg.inference.preparation import prepare, without_loading
from volseg.networks.heterogeneous import HeterogeneousAutoencoder, anomaly_maps
from volseg.networks.storage import read_metadata, read_tensors, storable, write_atomically
from volseg.types import Size

WEIGHTS = "anomaly.safetensors"

CARD = "volseg_anomaly"

KINDS = ("residual", "feature")
"""What is compared: voxels, or features."""

TOP = 0.01
"""Share of the foreground whose mean is the score; the maximum alone is driven by noise."""


@dataclass(frozen=True)
class AnomalyCard:
    """What a model is.

    Args:
        spacing: Voxel edge of its grid, in mm.
        size: Voxels of its windows.
        widths: Channels of its stages.
        bottleneck: ``transformer`` or ``convolution``.
        cases: How many normal volumes it has seen.
        steps: How many steps.
        seed: Of its training.
        volseg: The version that has trained it.
    """

    spacing: float
    size: Size
    widths: tuple[int, ...]
    bottleneck: str
    cases: int
    steps: int
    seed: int
    volseg: str = __version__

    def build(self) -> HeterogeneousAutoencoder:
        """Build the network with fresh weights, which the seed decides."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return HeterogeneousAutoencoder(self.widths, self.bottleneck)


@dataclass(frozen=True)
class Anomaly:
    """What is unusual in an image.

    Args:
        maps: On the image's grid, by kind, ``(X, Y, Z)``; 0 outside the foreground.
        scores: Mean of the highest values of each map, by kind.
        intensities: The image as the network sees it, on its own grid: standardised.
        foreground: What was looked at.
    """

    maps: Mapping[str, NDArray[np.float32]]
    scores: Mapping[str, float]
    intensities: NDArray[np.float32]
    foreground: NDArray[np.bool_]


class AnomalyDetector:
    """A trained autoencoder with what it needs to look at an image.

    Args:
        network: The network.
        card: What it is.
        device: Where it runs.
    """

    def __init__(
        self, network: HeterogeneousAutoencoder, card: AnomalyCard, device: torch.device | str
    ) -> None:
        self.network = network.to(device).eval()
        self.card = card
        self.device = torch.device(device)
        self._prepare = without_loading(preprocessing(spacing=(card.spacing,) * 3))

    @classmethod
    def load(cls, run: Path, device: torch.device | str = "cpu") -> Self:
        """Load what `save` has written.

        Args:
            run: The folder, or the file in it.
            device: Where it runs.

        Returns:
            The detector.

        Raises:
            WeightsError: If there is none.
        """
        path = run / WEIGHTS if run.is_dir() else run
        entries, _ = read_metadata(path)
        if CARD not in entries:
            raise WeightsError(f"{path} is no anomaly model; train one with volseg anomaly train")
        values: dict[str, Any] = json.loads(entries[CARD])
        for name in ("size", "widths"):
            values[name] = tuple(values[name])
        card = AnomalyCard(**values)
        network = card.build()
        try:
            network.load_state_dict(read_tensors(path))
        except RuntimeError as error:
            raise WeightsError(f"{path} does not hold the network that it names") from error
        return cls(network, card, device)

    def save(self, run: Path) -> Path:
        """Write weights and card, whole or not at all.

        Args:
            run: The folder.

        Returns:
            The file.
        """
        tensors = storable(self.network, torch.float32)
        path = run / WEIGHTS
        write_atomically(path, serialise(tensors, {CARD: json.dumps(asdict(self.card))}))
        return path

    def find(self, reading: Reading) -> Anomaly:
        """Look at an image.

        Args:
            reading: The image.

        Returns:
            Maps and scores.
        """
        volume, affine = network_view(self._prepare, reading)
        with torch.inference_mode():
            found = self._maps(volume)
        native = np.asarray(reading.values)
        foreground = np.isfinite(native) & (native > np.nanmin(native))
        maps = {}
        for kind, values in zip(KINDS, found.numpy(), strict=True):
            there = resample(Scan(values, affine), native.shape, reading.affine, np.eye(4))
            maps[kind] = np.where(foreground, there, 0).astype(np.float32)
        seen = resample(Scan(volume.numpy(), affine), native.shape, reading.affine, np.eye(4))
        scores = {kind: top_mean(chart[foreground]) for kind, chart in maps.items()}
        return Anomaly(maps, scores, np.asarray(seen, np.float32), foreground)

    def _maps(self, volume: Tensor) -> Tensor:
        found: Any = sliding_window_inference(
            volume[None, None].to(self.device),
            self.card.size,
            sw_batch_size=2,
            predictor=lambda windows: anomaly_maps(self.network, windows),
            overlap=0.5,
            mode="gaussian",
            padding_mode="constant",
            cval=float(volume.min()),
        )
        maps: Tensor = found[0].cpu()
        return maps


def network_view(preprocess: Any, reading: Reading) -> tuple[Tensor, NDArray[np.float64]]:
    """Bring an image to the grid and the intensities of a network.

    Args:
        preprocess: Its preprocessing, from a volume in memory on.
        reading: The image.

    Returns:
        The volume, ``(D, H, W)``, and its affine.
    """
    prepared = prepare(preprocess, (reading,))
    return prepared.image[0].float(), np.asarray(prepared.grid.affine, dtype=np.float64)


def top_mean(values: NDArray[np.floating] | Sequence[float], share: float = TOP) -> float:
    """Give the mean of the highest values.

    Args:
        values: Any number of them.
        share: Which share of them counts; at least one.

    Returns:
        The mean; 0 if there are none.

    Examples:
        >>> top_mean([1.0, 5.0, 3.0, 2.0], share=0.5)
        4.0
    """
    numbers = np.sort(np.asarray(values, dtype=np.float64).ravel())
    count = max(1, round(share * numbers.size))
    return float(numbers[-count:].mean()) if numbers.size else 0.0
