"""One patient of ``volseg resect``: reading the scans, simulating on them, writing the results."""

import json
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.random import RandomState
from numpy.typing import NDArray

from volseg.data.geometry import verify_mask, write_mask
from volseg.data.stored import write_floating, write_like
from volseg.data.volumes import NamedGrid, read_volume, require_same_grid
from volseg.errors import DataError
from volseg.networks.storage import write_atomically
from volseg.transforms.anatomy.from_image import anatomy_from_brain, anatomy_from_image
from volseg.transforms.anatomy.from_labels import anatomy_from_labels
from volseg.transforms.anatomy.maps import Anatomy
from volseg.transforms.resection.naming import guess_contrast
from volseg.transforms.resection.prior import Prior
from volseg.transforms.resection.rand import RandResectiond
from volseg.transforms.resection.record import RECORD
from volseg.transforms.synthesis import sample_synthesis, synthesize


@dataclass(frozen=True)
class Maps:
    """What is known of the patients' anatomy; all on the grid of the scans.

    Args:
        labels: Label map.
        brain: Brain mask.
        tumour: Tumour mask.
        scheme: What the label map's numbers mean.
    """

    labels: Path | None = None
    brain: Path | None = None
    tumour: Path | None = None
    scheme: str = "auto"

    def files(self) -> list[Path]:
        """List the files."""
        return [path for path in (self.labels, self.brain, self.tumour) if path is not None]


@dataclass(frozen=True)
class Targets:
    """Files of one simulated resection.

    Args:
        images: One for each scan.
        mask: The cavity.
        record: What was drawn.
    """

    images: tuple[Path, ...]
    mask: Path
    record: Path

    def files(self) -> list[Path]:
        """List the files."""
        return [*self.images, self.mask, self.record]


@dataclass(frozen=True)
class Patient:
    """Scans of one patient, on one grid.

    Args:
        names: Name of each scan; the first is the patient's.
        sources: File of each scan, or one label map.
        contrasts: Contrast of each scan.
        is_label_map: Whether the one source is a label map, of which images are made.
    """

    names: tuple[str, ...]
    sources: tuple[Path, ...]
    contrasts: tuple[str, ...]
    is_label_map: bool = False

    def targets(self, output: Path, number: int) -> Targets:
        """Say which files one resection gives.

        Args:
            output: Their folder.
            number: Of the resection, from 1.

        Returns:
            The files.
        """
        images = [output / f"{name}_resected-{number:04d}.nii.gz" for name in self.names]
        first = self.names[0]
        return Targets(
            tuple(images),
            output / f"{first}_cavity-{number:04d}.nii.gz",
            output / f"{first}_resection-{number:04d}.json",
        )


HELP = "give --labels or --brain"


@dataclass(frozen=True)
class Loaded:
    """A patient in memory.

    Args:
        patient: Whose.
        anatomy: The maps.
        images: The scans, ``(C, D, H, W)`` float32; empty for a label map.
        labels: The label map, ``(D, H, W)``, if images are made of it.
        extras: The tumour, if one was given.
    """

    patient: Patient
    anatomy: Anatomy
    images: torch.Tensor
    labels: torch.Tensor | None = None
    extras: dict[Hashable, Any] = field(default_factory=dict)


def load_patient(patient: Patient, maps: Maps) -> Loaded:
    """Read a patient's scans and find the anatomy.

    Args:
        patient: Whose.
        maps: What is known of the anatomy.

    Returns:
        The patient in memory; files on different grids are refused.

    Raises:
        DataError: If the brain would have to be estimated on CT.
    """
    volumes = [read_volume(path) for path in patient.sources]
    affine = volumes[0][1]
    grid: NamedGrid = (str(patient.sources[0]), volumes[0][0].shape, affine)
    for path, volume in zip(patient.sources[1:], volumes[1:], strict=True):
        require_same_grid(grid, (str(path), volume[0].shape, volume[1]))
    first = _tensor(volumes[0][0])
    extras: dict[Hashable, Any] = {}
    if maps.tumour is not None:
        extras["tumour"] = _place(_read_tumour(maps.tumour, grid)[None], affine)
    if patient.is_label_map:
        anatomy = anatomy_from_labels(first, affine, maps.scheme)
        return Loaded(patient, anatomy, torch.empty(0), first.round().int(), extras)
    images = torch.stack([_tensor(values) for values, *_ in volumes])
    if maps.labels is not None:
        anatomy = anatomy_from_labels(_read_on(maps.labels, grid), affine, maps.scheme)
    elif maps.brain is not None:
        anatomy = anatomy_from_brain(first, _read_on(maps.brain, grid) > 0.5, affine)
    else:
        if "CT" in contrasts_of(patient, images):
            raise DataError(f"{patient.sources[0]}: the brain cannot be estimated on CT; {HELP}")
        anatomy = anatomy_from_image(first, affine)
    return Loaded(patient, anatomy, images, None, extras)


def simulate(loaded: Loaded, prior: Prior, seed: int, number: int) -> dict[str, Any]:
    """Simulate one resection.

    Args:
        loaded: The patient.
        prior: What is drawn how often.
        seed: Of the run.
        number: Of the resection; seed, number and the patient's name decide the draw.

    Returns:
        The case as `RandResectiond` leaves it: ``image`` ``(C, D, H, W)`` and ``cavity``.
    """
    patient, anatomy = loaded.patient, loaded.anatomy
    random = RandomState([seed, crc32(patient.names[0].encode()), number])
    if loaded.labels is None:
        image = loaded.images
        contrasts = contrasts_of(patient, image)
    else:
        image, contrasts = _make_image(loaded.labels, anatomy, patient.contrasts[0], random)
    transform = RandResectiond("image", {"image": contrasts}, prior=prior)
    transform.set_random_state(state=random)
    case: dict[Hashable, Any] = {
        "image": _place(image, anatomy.affine),
        "anatomy": _place(anatomy.stack(), anatomy.affine),
        **loaded.extras,
    }
    done = transform(case)
    return {"image": done["image"], "cavity": done["cavity"], "contrasts": contrasts}


def write_case(
    case: dict[str, Any], patient: Patient, targets: Targets, settings: dict[str, Any]
) -> dict[str, Any]:
    """Write images, cavity and record of one resection, each on the grid of its scan.

    Args:
        case: What `simulate` gave.
        patient: Whose.
        targets: The files.
        settings: What else the record shall hold.

    Returns:
        The record.

    Raises:
        DataError: If no attempt at a resection succeeded; nothing is written then.
    """
    drawn = case["cavity"].meta[RECORD]
    if not drawn["is_ok"]:
        raise DataError(
            f"{patient.sources[0]}: no resection fits this anatomy; look at it, or {HELP}"
        )
    record = {
        **settings,
        **drawn,
        "cavity": json.loads(drawn["cavity"]),
        "contrasts": dict(zip(patient.names, case["contrasts"], strict=True)),
        "images": [path.name for path in targets.images],
        "mask": targets.mask.name,
    }
    targets.mask.parent.mkdir(parents=True, exist_ok=True)
    write = write_floating if patient.is_label_map else write_like
    for path, source, channel in zip(targets.images, patient.sources, case["image"], strict=True):
        write(path, np.asarray(channel.as_subclass(torch.Tensor)), source)
    mask = np.asarray(case["cavity"][0].as_subclass(torch.Tensor))
    write_mask(targets.mask, mask, patient.sources[0], {1: "cavity"})
    verify_mask(targets.mask, patient.sources[0])
    text = json.dumps(record, indent=2, ensure_ascii=False)
    write_atomically(targets.record, f"{text}\n".encode())
    return record


def contrasts_of(patient: Patient, images: torch.Tensor) -> list[str]:
    """Say what each scan of a patient shows.

    Args:
        patient: Whose.
        images: The scans, ``(C, D, H, W)``.

    Returns:
        A contrast for each; what was not given is guessed.
    """
    return [
        guess_contrast(Path(name).name, channel) if contrast == "auto" else contrast
        for name, contrast, channel in zip(patient.names, patient.contrasts, images, strict=True)
    ]


def _read_tumour(path: Path, grid: NamedGrid) -> torch.Tensor:
    tumour = _read_on(path, grid) > 0.5
    if not bool(tumour.any()):
        raise DataError(f"{path}: marks no tumour; nothing in it is above 0.5")
    return tumour


def _tensor(values: NDArray[Any]) -> torch.Tensor:
    native = np.ascontiguousarray(values, dtype=np.float32)
    return torch.from_numpy(native)


def _read_on(path: Path, grid: NamedGrid) -> torch.Tensor:
    """Read a map that must lie on the scan's grid."""
    values, affine, _ = read_volume(path)
    require_same_grid(grid, (str(path), values.shape, affine))
    return _tensor(values)


def _place(values: torch.Tensor, affine: NDArray[np.float64]) -> MetaTensor:
    return MetaTensor(values, affine=torch.from_numpy(affine))


def _make_image(
    labels: torch.Tensor, anatomy: Anatomy, contrast: str, random: RandomState
) -> tuple[torch.Tensor, list[str]]:
    """Make a healthy image of a label map; give it and its contrast."""
    values = torch.unique(labels).tolist()
    shares = None if contrast == "auto" else {contrast: 1.0}
    synthesis = sample_synthesis(values, random, shares, lesion_share=0.0)
    depth, height, width = (float(edge) for edge in anatomy.spacing)
    return synthesize(labels, synthesis, (depth, height, width)), [synthesis.contrast]
