"""Draw the gallery of simulated resections.

Run ``python -m tests.benchmarks.resection_gallery``. Every sheet shows, column by column, a scan
without and with a resection, and the outline of the mask. The scans are made of the whole-head
label maps beside the checkout, so that the pictures may be published; the CT is made in Hounsfield
units from the table below, no patient's CT is used. The last sheet is the MNI152 template that
nilearn brings, whose brain is estimated.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import nibabel as nib
import numpy as np
import torch
from matplotlib import pyplot
from monai.data import MetaTensor
from PIL import Image

from volseg.data.volumes import read_volume
from volseg.transforms.anatomy.from_image import anatomy_from_image
from volseg.transforms.anatomy.from_labels import anatomy_from_labels
from volseg.transforms.label_kinds import Kind
from volseg.transforms.resection.prior import Prior
from volseg.transforms.resection.rand import RandResectiond
from volseg.transforms.resection.record import RECORD
from volseg.transforms.synthesis import Synthesis, sample_synthesis, synthesize

ROOT = Path(__file__).resolve().parents[2]
LABEL_MAPS = ROOT.parent / "shared" / "data" / "brain_labelmaps"
LARGEST_FILE = 400_000
GREYS = 64
OUTLINE = "#ff3838"
OUTLINE_COLOURS = np.array([[255, 56, 56], [200, 50, 50], [140, 45, 45], [255, 140, 140]])
WATER = 1000
HOUNSFIELD = {
    Kind.AIR: -1000, Kind.WHITE: 28, Kind.GREY: 37, Kind.FOLIA: 34, Kind.DEEP: 36,
    Kind.PALLIDUM: 36, Kind.STEM: 30, Kind.FLUID: 7, Kind.VENTRICLE: 6, Kind.LESION: 24,
    Kind.PLEXUS: 40, Kind.ARTERY: 45, Kind.VEIN: 55, Kind.NERVE: 32, Kind.EYE: 10, Kind.SOFT: 50,
    Kind.FAT: -95, Kind.SKIN: 20, Kind.MUCOSA: 35, Kind.BONE: 1100, Kind.MARROW: 450,
    Kind.OTHER: 30,
}  # fmt: skip
WINDOWS = {"CT": (-25.0, 100.0)}


@dataclass(frozen=True)
class Shot:
    """One column of a sheet."""

    mode: str
    stage: str
    seed: int
    person: int = 13


SHEETS = {
    "T1": [
        Shot("temporal_lobectomy", "chronic", 1, 13),
        Shot("lesionectomy", "subacute", 2, 14),
        Shot("lobectomy", "early", 3, 15),
        Shot("amygdalohippocampectomy", "chronic", 4, 13),
        Shot("infratentorial", "subacute", 5, 14),
    ],
    "T2": [
        Shot("lesionectomy", "early", 11, 14),
        Shot("lobectomy", "chronic", 12, 13),
        Shot("temporal_lobectomy", "subacute", 13, 15),
        Shot("two_cavities", "chronic", 14, 13),
        Shot("tract", "early", 15, 14),
    ],
    "FLAIR": [
        Shot("lobectomy", "subacute", 21, 15),
        Shot("lesionectomy", "chronic", 22, 13),
        Shot("temporal_lobectomy", "early", 23, 14),
        Shot("lesionectomy", "subacute", 24, 15),
        Shot("flap_only", "early", 25, 13),
    ],
    "CT": [
        Shot("lesionectomy", "early", 31, 14),
        Shot("lobectomy", "early", 32, 13),
        Shot("temporal_lobectomy", "chronic", 33, 15),
        Shot("lesionectomy", "subacute", 36, 14),
        Shot("infratentorial", "early", 35, 13),
    ],
}
MNI = [
    Shot("temporal_lobectomy", "chronic", 41),
    Shot("lesionectomy", "early", 42),
    Shot("lobectomy", "subacute", 43),
    Shot("lesionectomy", "chronic", 44),
    Shot("two_cavities", "subacute", 45),
]


def read_head(person: int):
    """Read a label map, cut it to the head, and find its anatomy."""
    values, affine, _ = read_volume(LABEL_MAPS / f"training_seg_{person:02d}.nii.gz")
    labels = torch.from_numpy(np.rint(values).astype(np.int32))
    places = labels.nonzero()
    start = (places.amin(0) - 4).clamp(min=0).tolist()
    stop = (places.amax(0) + 5).tolist()
    labels = labels[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))].contiguous()
    affine = affine.copy()
    affine[:3, 3] += affine[:3, :3] @ start
    return labels, anatomy_from_labels(labels, affine, "synthseg")


def make_scan(labels: torch.Tensor, contrast: str, seed: int, spacing) -> torch.Tensor:
    """Make a healthy whole-head scan, of CT in Hounsfield units."""
    shares = {"T1" if contrast == "CT" else contrast: 1.0}
    values, random = torch.unique(labels).tolist(), np.random.RandomState(seed)
    drawn = sample_synthesis(values, random, shares, lesion_share=0.0, stripped_share=0.0)
    drawn = replace(drawn, margins=(-1.0,) * 6)
    if contrast != "CT":
        return synthesize(labels, drawn, spacing)
    return synthesize(labels, as_ct(drawn), spacing) - WATER


def as_ct(drawn: Synthesis) -> Synthesis:
    """Give tissues their Hounsfield units; synthesis knows no negative values, so water is 1000."""
    kinds = {value: Kind(kind) for value, kind in drawn.kinds.items()}
    streaks = HOUNSFIELD[Kind.FAT] + WATER, 0.45
    return replace(
        drawn,
        means={value: HOUNSFIELD[kind] + WATER for value, kind in kinds.items()},
        deviations={value: 80.0 if kind is Kind.BONE else 5.0 for value, kind in kinds.items()},
        drifts=dict.fromkeys(kinds, 2.0),
        streaks={value: streaks for value, kind in kinds.items() if kind is Kind.SOFT},
        blur=0.6,
        noise=2.5,
    )


def resect_once(
    image: torch.Tensor, anatomy, contrast: str, shot: Shot
) -> Mapping[str, MetaTensor]:
    """Simulate the resection of a column."""
    prior = replace(Prior(), modes={shot.mode: 1.0}, stages={shot.stage: 1.0})
    transform = RandResectiond("image", contrast, prior=prior).set_random_state(shot.seed)
    case = {
        "image": MetaTensor(image, affine=anatomy.affine),
        "anatomy": MetaTensor(anatomy.stack(), affine=anatomy.affine),
    }
    done = transform(case)
    record = done["cavity"].meta[RECORD]
    print(contrast, shot, record["side"], f"{record['volume_ml']:.1f} mL", record["is_ok"])
    return done


def axial(volume: torch.Tensor, affine, height: int | None = None) -> np.ndarray:
    """Cut an axial slice, the patient's right on the viewer's left and the front above."""
    directions = nib.orientations.io_orientation(affine)
    canonical = nib.orientations.apply_orientation(np.asarray(volume), directions)
    if height is None:
        return canonical
    return np.flipud(np.fliplr(canonical[:, :, height].T))


def choose_height(mask: torch.Tensor, change: torch.Tensor, affine) -> int:
    """Find the slice in which most of the mask lies, or else most of the change."""
    marked = mask if bool(mask.any()) else change
    return int(axial(marked.float(), affine).sum(axis=(0, 1)).argmax())


def draw_sheet(columns, path: Path) -> None:
    """Draw healthy scans, resected scans and outlines below one another."""
    figure, axes = pyplot.subplots(
        3, len(columns), figsize=(2.1 * len(columns), 7.2), facecolor="black"
    )
    for column, (title, healthy, resected, mask, window) in zip(axes.T, columns, strict=True):
        for panel, picture in zip(column, (healthy, resected, resected), strict=True):
            panel.imshow(picture, cmap="gray", vmin=window[0], vmax=window[1])
            panel.axis("off")
        column[0].set_title(title, fontsize=7, color="white")
        if mask.any():
            column[2].contour(mask, [0.5], colors=OUTLINE, linewidths=0.8)
    figure.subplots_adjust(0, 0, 1, 0.95, 0.01, 0.01)
    figure.savefig(path, dpi=95)
    pyplot.close(figure)
    shrink(path)


def shrink(path: Path) -> None:
    """Store few greys, so that the file stays small."""
    greys = np.linspace(0, 255, GREYS).astype(np.uint8)
    table = np.concatenate([np.stack([greys] * 3, axis=1), OUTLINE_COLOURS])
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.ascontiguousarray(table, dtype=np.uint8).tobytes())
    picture = Image.open(path).convert("RGB")
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path}: {size / 1000:.0f} kB")
    if size > LARGEST_FILE:
        raise SystemExit(f"{path} is {size} bytes; draw it smaller")


def make_column(image: torch.Tensor, anatomy, contrast: str, shot: Shot):
    """Make what a column shows."""
    done = resect_once(image, anatomy, contrast, shot)
    before, after = image[0], done["image"][0].as_subclass(torch.Tensor)
    mask = done["cavity"][0].as_subclass(torch.Tensor)
    affine = anatomy.affine
    height = choose_height(mask, (before != after) & (anatomy.depth == 0), affine)
    slices = [axial(each, affine, height) for each in (before, after, mask)]
    high = float(torch.quantile(before[anatomy.depth > 0][::97], 0.995))
    window = WINDOWS.get(contrast, (0.0, 1.15 * high))
    record = done["cavity"].meta[RECORD]
    title = f"{shot.mode.replace('_', ' ')}\n{shot.stage}, {record['volume_ml']:.0f} mL"
    rows, cells = box_of(axial((anatomy.tissue > 0).float(), affine, height))
    return title, *(each[rows, cells] for each in slices), window


def box_of(shown: np.ndarray) -> tuple[slice, slice]:
    """Cut to the head, with a little room."""
    spans = []
    for axis in (0, 1):
        hits = np.flatnonzero(shown.any(axis=1 - axis))
        spans.append(slice(max(0, hits[0] - 4), hits[-1] + 5))
    return spans[0], spans[1]


def draw_contrast(contrast: str, output: Path) -> None:
    """Draw the sheet of a contrast."""
    heads, columns = {}, []
    for shot in SHEETS[contrast]:
        if shot.person not in heads:
            heads[shot.person] = read_head(shot.person)
        labels, anatomy = heads[shot.person]
        spacing = tuple(anatomy.spacing.tolist())
        image = make_scan(labels, contrast, 1000 + shot.seed, spacing)
        columns.append(make_column(image, anatomy, contrast, shot))
    draw_sheet(columns, output / f"resections_{contrast.lower()}.png")


def draw_template(output: Path) -> None:
    """Draw the sheet of nilearn's template, which is skull-stripped."""
    from nilearn.datasets import load_mni152_template

    template = load_mni152_template(resolution=1)
    image = torch.from_numpy(template.get_fdata(dtype=np.float32))
    anatomy = anatomy_from_image(image, template.affine)
    columns = [make_column(image[None], anatomy, "T1", shot) for shot in MNI]
    draw_sheet(columns, output / "resections_template.png")


def main() -> None:
    """Draw all sheets, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sheets", nargs="*", default=[*SHEETS, "template"])
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.output.mkdir(parents=True, exist_ok=True)
    for sheet in args.sheets:
        if sheet == "template":
            draw_template(args.output)
        else:
            draw_contrast(sheet, args.output)


if __name__ == "__main__":
    main()
