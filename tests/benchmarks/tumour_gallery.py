"""Draw the gallery of simulated tumours.

Run ``python -m tests.benchmarks.tumour_gallery``. Each sheet is one drawn tumour: by columns a
sequence, above the healthy scan, in the middle the same slice with the tumour, below with the
outlines of its parts. The scans are made of the whole-head label maps beside the checkout, so that
the pictures may be published. The sheet of CT is made in Hounsfield units, and the last one is the
MNI152 template that nilearn brings, with a tumour of each kind.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot
from monai.data import MetaTensor
from nilearn.datasets import load_mni152_template
from PIL import Image

from tests.benchmarks.resection_gallery import (
    LARGEST_FILE,
    ROOT,
    WINDOWS,
    axial,
    box_of,
    choose_height,
    make_scan,
    read_head,
)
from volseg.transforms.anatomy.from_image import anatomy_from_image
from volseg.transforms.tumour.rand import RandTumord
from volseg.transforms.tumour.record import RECORD
from volseg.transforms.tumour.tumour import Part

SEQUENCES = ("T1", "T1c", "T2", "FLAIR")
COLOURS = {Part.CORE: "#ff4040", Part.OEDEMA: "#40d060", Part.ENHANCING: "#ffd030"}
GREYS = 64
SHADES = (1.0, 0.75, 0.5)
"""Greys, and how dark outlines may be, in the stored picture."""


@dataclass(frozen=True)
class Shot:
    """One tumour."""

    kind: str
    seed: int
    person: int = 13


SHEETS = {
    "glioblastoma": Shot("glioblastoma", 7, 13),
    "low_grade": Shot("low_grade", 2, 14),
    "metastasis": Shot("metastasis", 5, 15),
    "meningioma": Shot("meningioma", 1, 13),
}
CT = [
    Shot("glioblastoma", 11, 14),
    Shot("metastasis", 12, 13),
    Shot("meningioma", 13, 15),
    Shot("low_grade", 14, 13),
]
TEMPLATE = [
    Shot("glioblastoma", 21),
    Shot("low_grade", 22),
    Shot("metastasis", 23),
    Shot("meningioma", 24),
]


def grow_once(images: dict[str, torch.Tensor], anatomy, shot: Shot):
    """Grow a tumour in the sequences of one head."""
    prior = {"kinds": {shot.kind: 1.0}, "min_ml": 4.0, "max_ml": 45.0}
    transform = RandTumord([*images], {name: name for name in images}, prior=prior)
    case = {name: MetaTensor(image, affine=anatomy.affine) for name, image in images.items()}
    case["anatomy"] = MetaTensor(anatomy.stack(), affine=anatomy.affine)
    done = transform.set_random_state(shot.seed)(case)
    record = done["label"].meta[RECORD]
    print(shot, record["side"], f"{record['volume_ml']:.1f} mL", record["is_ok"])
    return done, f"{shot.kind.replace('_', '-')}, {record['volume_ml']:.0f} mL"


def columns_of(images: dict[str, torch.Tensor], anatomy, shot: Shot):
    """Make what the columns of one tumour show."""
    done, title = grow_once(images, anatomy, shot)
    label = done["label"][0].as_subclass(torch.Tensor)
    affine = anatomy.affine
    height = choose_height((label > 0) & (label != int(Part.OEDEMA)), label > 0, affine)
    shown = axial(label, affine, height)
    window = box_of(axial((anatomy.tissue > 0).float(), affine, height))
    for name, image in images.items():
        after = done[name][0].as_subclass(torch.Tensor)
        high = float(torch.quantile(after[anatomy.depth > 0][::97], 0.995))
        levels = WINDOWS.get(name, (0.0, 1.1 * high))
        slices = [axial(each, affine, height)[window] for each in (image[0], after)]
        yield f"{name}\n{title}", slices, shown[window], levels


def draw_sheet(columns, path: Path) -> None:
    """Draw healthy scans, scans with a tumour, and outlines below one another."""
    figure, axes = pyplot.subplots(
        3, len(columns), figsize=(2.1 * len(columns), 7.2), facecolor="black"
    )
    for column, (title, (before, after), label, levels) in zip(axes.T, columns, strict=True):
        for panel, picture in zip(column, (before, after, after), strict=True):
            panel.imshow(picture, cmap="gray", vmin=levels[0], vmax=levels[1])
            panel.axis("off")
        column[0].set_title(title, fontsize=7, color="white")
        for part, colour in COLOURS.items():
            if (label == int(part)).any():
                column[2].contour(label == int(part), [0.5], colors=colour, linewidths=0.7)
    figure.subplots_adjust(0, 0, 1, 0.95, 0.01, 0.01)
    figure.savefig(path, dpi=95)
    pyplot.close(figure)
    shrink(path)


def shrink(path: Path) -> None:
    """Store few colours, so that the file stays small."""
    greys = [[level] * 3 for level in np.linspace(0, 255, GREYS).astype(int).tolist()]
    colours = [
        [round(shade * int(colour[place : place + 2], 16)) for place in (1, 3, 5)]
        for colour in COLOURS.values()
        for shade in SHADES
    ]
    palette = Image.new("P", (1, 1))
    palette.putpalette([level for colour in greys + colours for level in colour])
    picture = Image.open(path).convert("RGB")
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path}: {size / 1000:.0f} kB")
    if size > LARGEST_FILE:
        raise SystemExit(f"{path} is {size} bytes; draw it smaller")


def draw_heads(shots: list[Shot], sequences: tuple[str, ...], path: Path) -> None:
    """Draw tumours in synthetic scans, in each of the sequences."""
    columns = []
    for shot in shots:
        labels, anatomy = read_head(shot.person)
        spacing = tuple(anatomy.spacing.tolist())
        images = {
            name: make_scan(labels, name, 100 * shot.seed + place, spacing)
            for place, name in enumerate(sequences)
        }
        columns += columns_of(images, anatomy, shot)
    draw_sheet(columns, path)


def draw_template(path: Path) -> None:
    """Draw a tumour of each kind in nilearn's template, which is skull-stripped."""
    template = load_mni152_template(resolution=1)
    image = torch.from_numpy(template.get_fdata(dtype=np.float32))[None]
    anatomy = anatomy_from_image(image[0], template.affine)
    columns = [column for shot in TEMPLATE for column in columns_of({"T1": image}, anatomy, shot)]
    draw_sheet(columns, path)


def main() -> None:
    """Draw all sheets, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sheets", nargs="*", default=[*SHEETS, "ct", "template"])
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.output.mkdir(parents=True, exist_ok=True)
    for sheet in args.sheets:
        path = args.output / f"tumours_{sheet}.png"
        if sheet == "template":
            draw_template(path)
        elif sheet == "ct":
            draw_heads(CT, ("CT",), path)
        else:
            draw_heads([SHEETS[sheet]], SEQUENCES, path)


if __name__ == "__main__":
    main()
