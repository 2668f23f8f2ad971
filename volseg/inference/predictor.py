"""From the file of an image to a label map on the image's own grid, and to its file.

Class probabilities, not labels, are brought back to the grid of the image, where the most probable
class wins, so that no label is ever interpolated. A mask counts as written only once it has been
read back and found equal.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from monai.inferers import Inferer
from numpy.typing import ArrayLike, NDArray
from torch import nn

from volseg.bundle import Bundle
from volseg.data.geometry import Grid
from volseg.data.reading import read_source, read_source_grid, source_of
from volseg.data.source import Source
from volseg.errors import BundleError, DataError
from volseg.inference.computation import Computation
from volseg.inference.engine import Engine
from volseg.inference.in_memory import KINDS, labels_like, readings_of, with_channels
from volseg.inference.last_steps import left_out
from volseg.inference.memory import Ceiling
from volseg.inference.outputs.maps import map_path, write_map
from volseg.inference.outputs.segmentation import write_segmentation
from volseg.inference.plausibility import Evidence, Guard
from volseg.inference.prediction import Prediction
from volseg.inference.preparation import Loaded, Preprocessing, prepare, without_loading
from volseg.inference.room import network_shape, require_room, spacing_of
from volseg.inference.sliding_window import SlidingWindow
from volseg.networks.weights import load_segmenter

logger = logging.getLogger(__name__)

Given = str | Path | Source
"""A file or folder, or a source that was found."""


class Predictor:
    """A network with everything that it needs to segment a file.

    Args:
        network: From ``(B, C, D, H, W)`` to logits ``(B, K, D, H, W)``; moved to ``device``.
        preprocessing: From ``{"image": path}`` to ``{"image": MetaTensor (C, D, H, W)}``; it begins
            with `LoadImaged`.
        inferer: Applies the network to a volume of any size.
        classes: Name of each label value, 0 to K - 1; 0 is the background.
        device: Where the network runs.
        guard: Judges each label map before it is written; `None`: all are taken as they are.
        ceiling: How much memory may be used.
        computation: How the network is applied.

    Its ``scratch`` is the folder where maps lie until they are written; `None`: in memory.

    Raises:
        BundleError: If the label values are not 0 to K - 1.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        inferer: Inferer,
        classes: Mapping[int, str],
        device: torch.device | str = "cpu",
        guard: Guard | None = None,
        ceiling: Ceiling | None = None,
        computation: Computation | None = None,
    ) -> None:
        if sorted(classes) != list(range(len(classes))):
            raise BundleError(f"label values are {sorted(classes)}; use 0 to {len(classes) - 1}")
        self.network = network.to(device).eval()
        self.preprocessing = preprocessing
        self._from_memory = without_loading(preprocessing)
        self.classes = dict(sorted(classes.items()))
        self.device = torch.device(device)
        self.guard = guard
        self.ceiling = ceiling or Ceiling()
        self.scratch: Path | None = None
        self.on_window: Callable[[], object] = _do_nothing
        how = computation or Computation()
        self.engine = Engine(self.network, inferer, self.classes, self.device, how)

    @property
    def inferer(self) -> Inferer:
        """What applies the network to a volume of any size."""
        return self.engine.inferer

    @classmethod
    def from_bundle(
        cls,
        bundle: Bundle | str | Path,
        device: torch.device | str = "cpu",
        overrides: Mapping[str, Any] | None = None,
        ceiling: Ceiling | None = None,
        computation: Computation | None = None,
    ) -> Self:
        """Build the predictor that a bundle describes, with its weights.

        Args:
            bundle: A segmentation bundle, its folder, or the name of one that comes with volseg.
            device: Where the network runs.
            overrides: Values of the inference configuration to replace, by id.
            ceiling: How much memory may be used.
            computation: How the network is applied.

        Returns:
            The predictor, ready.

        Raises:
            BundleError: If other weights are asked for than those of the bundle.
        """
        bundle = bundle if isinstance(bundle, Bundle) else Bundle.find(bundle)
        if "weights" in (overrides or {}):
            raise BundleError(
                f"weights cannot be set: they are {bundle.weights()}; copy the bundle and put"
                " others there, or use python -m monai.bundle run"
            )
        classes = bundle.classes()
        config = bundle.config("inference", dict(overrides or {}))
        if steps := left_out(bundle.raw_config("inference")):
            logger.warning("%s: volseg leaves out %s", bundle.name, ", ".join(steps))
        network = config.get_parsed_content("network_def")
        load_segmenter(network, bundle.weights())
        preprocessing = config.get_parsed_content("preprocessing")
        inferer = config.get_parsed_content("inferer")
        guard = config.get_parsed_content("guard") if "guard" in config else None
        return cls(network, preprocessing, inferer, classes, device, guard, ceiling, computation)

    def predict(self, source: Given | Sequence[Given]) -> Prediction:
        """Segment one image.

        Args:
            source: A file or DICOM folder of a 3D volume, or a source that was found; or a list of
                such, one for each channel of the network, in its order.

        Returns:
            Its label map, on its own grid.
        """
        return self.infer(self.load(source))

    def predict_array(self, values: ArrayLike, affine: ArrayLike) -> NDArray[np.integer]:
        """Segment an image in memory; no file is read or written.

        Args:
            values: Intensities, ``(X, Y, Z)``, or ``(C, X, Y, Z)`` for a network of several
                channels.
            affine: From voxel indices to RAS mm, ``(4, 4)``, as nibabel gives it.

        Returns:
            Label of each voxel, ``(X, Y, Z)``.
        """
        labels: NDArray[np.integer] = self.predict_image((values, affine))
        return labels

    def predict_image(self, *images: Any, channels: Sequence[str] = ()) -> Any:
        """Segment an image in memory, of any kind that `volseg.inference.in_memory` lists.

        Args:
            *images: The image; for a network of several channels one for each, in its order.
            channels: What each of them shows, if the network can do without some; none: they are
                all of its channels.

        Returns:
            Its label map on its own grid, of the kind of the first.

        Raises:
            DataError: If it is no volume, or there is none.
        """
        if not images:
            raise DataError(f"no image; give {KINDS}")
        readings = tuple(reading for each in images for reading in readings_of(each))
        if channels:
            readings = with_channels(readings, channels)
        found = self.infer(Loaded(readings, prepare(self._from_memory, readings)))
        return labels_like(found.labels, images[0], found.warnings)

    def predict_on(self, grid: Grid, *images: Any) -> Prediction:
        """Segment an image in memory, and give its labels on another grid of the same space.

        Probabilities, not labels, are brought to that grid; what the image does not show is
        background.

        Args:
            grid: Where labels are wanted.
            *images: As for `predict_image`.

        Returns:
            The label map on that grid.
        """
        readings = tuple(reading for each in images for reading in readings_of(each))
        prepared = prepare(self._from_memory, readings)
        return self.infer(Loaded(readings, replace(prepared, native=grid)))

    def load(self, source: Given | Sequence[Given]) -> Loaded:
        """Read an image and bring it to the network's grid.

        Args:
            source: As for `predict`.

        Returns:
            All that `infer` needs; a file that cannot be used is refused with a `DataError`.
        """
        given = [source] if isinstance(source, (str, Path, Source)) else source
        sources = [each if isinstance(each, Source) else source_of(Path(each)) for each in given]
        self._require_room(sources)
        readings = tuple(read_source(each) for each in sources)
        return Loaded(readings, prepare(self._from_memory, readings))

    def _require_room(self, sources: Sequence[Source]) -> None:
        """Refuse by its header what would not fit into memory."""
        if sources[0].format == "dicom":  # whose files say how much they hold
            return
        name, shape, affine = read_source_grid(sources[0])
        size = network_shape(shape, affine, spacing_of(self._from_memory))
        try:
            require_room(shape, size, len(sources), self.ceiling)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error

    def count_windows(self, case: Loaded) -> int:
        """Tell how often the network will be called.

        Args:
            case: What `load` gave.

        Returns:
            The number of calls, if all logits fit into memory at once; 0 if nobody knows.
        """
        if not isinstance(self.inferer, SlidingWindow):
            return 0
        return self.inferer.count_batches(case.prepared.image.shape[1:])

    def infer(self, case: Loaded) -> Prediction:
        """Segment an image that was loaded.

        Args:
            case: What `load` gave.

        Returns:
            Its label map, on its own grid.
        """
        prepared, reading = case.prepared, case.readings[0]
        notes = [note for each in case.readings for note in each.warnings] + prepared.notes
        self.engine.on_window = self.on_window
        needs_all = self.guard is not None
        found = self.engine.run(prepared, self.ceiling, self.scratch, needs_all=needs_all)
        labels, findings = found.labels, prepared.findings
        if self.guard is not None and found.probabilities is not None:
            affine = np.asarray(prepared.grid.affine)
            evidence = Evidence(
                labels, prepared.native, found.probabilities, prepared.image, affine
            )
            verdict = self.guard.judge(evidence)
            labels, findings = verdict.labels, {**findings, **verdict.findings}
            notes += verdict.warnings
        return Prediction(
            labels,
            prepared.native,
            reading.files[0],
            tuple(dict.fromkeys([*notes, *found.notes])),
            findings,
            reading,
            found.confidence,
            found.maps,
        )

    def save(
        self, prediction: Prediction, path: Path, sources: Sequence[str] | None = None
    ) -> None:
        """Write a label map and its maps; they get their names only after they were read back.

        Args:
            prediction: What `predict` gave.
            path: File to write: ``*.nii.gz``, ``*.seg.nrrd`` or, for a DICOM series, ``*.dcm``;
                replaced if it is there.
            sources: What the sidecar calls the image's files; `None`: their paths from the mask.

        Raises:
            DataError: If the prediction does not know its image.
        """
        if prediction.reading is None:
            raise DataError(f"{path}: the prediction has no image to take the header from")
        for kind, chart in prediction.maps.items():
            write_map(kind, chart, prediction.reading, map_path(path, kind), sources)
        write_segmentation(
            prediction.labels, prediction.reading, self.classes, path, sources=sources
        )


def _do_nothing() -> None:
    """Watch nothing."""
