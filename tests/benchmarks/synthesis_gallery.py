"""Draw synthetic heads, lesions that are not cavities, and what scanners make of one patch.

Run ``python -m tests.benchmarks.synthesis_gallery``. The heads are made of the label maps beside
the checkout.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import nibabel as nib
import numpy as np
import torch
from matplotlib import pyplot
from PIL import Image
from torch.nn import functional

from volseg.transforms.acquisition import Acquisition, acquire
from volseg.transforms.synthesis import sample_synthesis, synthesize

ROOT = Path(__file__).resolve().parents[2]
LABEL_MAPS = ROOT.parent / "shared" / "data" / "brain_labelmaps"
MM = (1.0, 1.0, 1.0)
GREYS = 48

HEADS = [
    ("T1", 13, 2), ("T1c", 13, 3), ("T2", 14, 4), ("FLAIR", 14, 5), ("PD", 15, 6),
    ("unknown", 15, 7), ("unknown", 13, 8), ("unknown", 14, 9),
]  # fmt: skip
ILL = [
    ("T1", 14, 21), ("T1c", 14, 22), ("T1c", 13, 23), ("T2", 13, 24), ("FLAIR", 15, 25),
    ("FLAIR", 13, 26), ("unknown", 13, 27), ("unknown", 15, 31),
]  # fmt: skip
SCANS = [
    ("as it is", Acquisition()),
    ("5 mm slices", Acquisition(resolution=(0, 0, 5.0))),
    ("6.5 mm, noise", Acquisition(resolution=(0, 6.5, 0), noise=0.15)),
    ("2.5 mm", Acquisition(resolution=(2.5, 2.5, 2.5))),
    ("coil", Acquisition(bias=0.35, seed=3)),
    ("motion", Acquisition(motion=4.0, motion_axis=1, motion_share=0.9)),
    ("ghosts", Acquisition(ghosts=3, ghost_strength=0.15, motion_axis=1)),
    ("noise", Acquisition(noise=0.25, is_rician=True)),
]


def read_labels(person):
    """Read a label map of the folder, its axes to right, anterior and superior."""
    scan = nib.load(LABEL_MAPS / f"training_seg_{person:02d}.nii.gz")
    scan = nib.as_closest_canonical(scan)
    labels = torch.from_numpy(np.rint(np.asarray(scan.dataobj)).astype(np.int32))
    places = (labels > 0).nonzero()
    low, high = places.min(dim=0).values, places.max(dim=0).values + 1
    return functional.pad(
        labels[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))], (4,) * 6
    )


def draw_head(labels, contrast, seed, *, is_ill):
    """Synthesise a head."""
    values = torch.unique(labels).tolist()
    random = np.random.RandomState(seed)
    share = float(is_ill)
    drawn = sample_synthesis(
        values, random, {contrast: 1.0}, lesion_share=share, stripped_share=0.3 * share
    )
    return drawn, synthesize(labels, drawn, MM)[0]


def middle(labels):
    """The ventricles' centre, in voxels."""
    return np.argwhere(((labels == 4) | (labels == 43)).numpy()).mean(axis=0).astype(int)


def lesion_plane(labels, drawn):
    """The axial plane of the first lesion."""
    white = torch.isin(labels, torch.tensor([2, 7, 41, 46])).flatten().nonzero().flatten()
    index = int(white[int(drawn.lesions[0].place * len(white))])
    return int(np.unravel_index(index, tuple(labels.shape))[2])


def show(axis, plane, title, top=None):
    """Show a plane, its first axis to the right and its second upwards."""
    top = top or float(np.percentile(plane[plane > plane.mean()], 98))
    axis.imshow(plane.T, cmap="gray", origin="lower", vmin=0, vmax=top, interpolation="nearest")
    axis.set_title(title, color="white", fontsize=9, pad=2)


def save(figure, path):
    """Write a sheet with few greys, which keeps it small."""
    figure.savefig(path, dpi=80, facecolor="black")
    with Image.open(path) as picture:
        picture.convert("L").quantize(GREYS).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size} bytes")


def main():
    """Draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    heads = {person: read_labels(person) for person in (13, 14, 15)}
    figure, axes = pyplot.subplots(4, 8, figsize=(13.6, 7.6))
    for axis in axes.flat:
        axis.axis("off")
    for column, (contrast, person, seed) in enumerate(HEADS):
        labels = heads[person]
        centre = middle(labels)
        _, image = draw_head(labels, contrast, seed, is_ill=False)
        planes = (image[:, :, centre[2]], image[centre[0] + 8])
        boxes = (labels[:, :, centre[2]] > 0, labels[centre[0] + 8] > 0)
        for row, (plane, box) in enumerate(zip(planes, boxes, strict=True)):
            low, high = np.argwhere(box.numpy()).min(0), np.argwhere(box.numpy()).max(0)
            cut = plane[low[0] : high[0], max(low[1], high[1] - 210) : high[1]].numpy()
            show(axes[row, column], cut, contrast if row == 0 else "")
    for column, (contrast, person, seed) in enumerate(ILL):
        labels = heads[person]
        drawn, image = draw_head(labels, contrast, seed, is_ill=True)
        low = np.argwhere((labels > 0).any(dim=2).numpy()).min(0)
        high = np.argwhere((labels > 0).any(dim=2).numpy()).max(0)
        plane = image[low[0] : high[0], low[1] : high[1], lesion_plane(labels, drawn)].numpy()
        show(axes[2, column], plane, contrast)
    centre = middle(heads[13])
    _, image = draw_head(heads[13], "T1", 2, is_ill=False)
    window = tuple(slice(int(c) - 48, int(c) + 48) for c in centre)
    for column, (title, drawn) in enumerate(SCANS):
        seen = acquire(image[window][None], drawn, MM)[0]
        show(axes[3, column], seen[56].numpy(), title, float(image[window].max()))
    figure.subplots_adjust(0.002, 0.002, 0.998, 0.97, 0.02, 0.08)
    save(figure, args.output / "synthesis.png")


if __name__ == "__main__":
    main()
