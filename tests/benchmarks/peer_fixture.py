"""Make the masks that `tests/transforms/resection/test_compat.py` compares with, by resector.

It runs in an environment of its own, as `peer_resector.py` does: ``pip install resector==0.2.10``,
then ``python peer_fixture.py OUTPUT.npz FOLDER``, where `peer_resector.py` has put cases in FOLDER.
Kept are what resector drew and the masks it made: of its cases, whose heads are label maps, and of
heads that the test can draw itself, each a hemisphere of an ellipsoid, all of it resectable; and
some values of the simplex noise that it draws from.
"""

import argparse
import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import noise
import numpy as np
import torch
import torchio
from resector import RandomResection

GRIDS = (((80, 96, 80), (2.0, 2.0, 2.0)), ((150, 180, 50), (1.0, 1.0, 3.0)))
"""Voxels along each axis, and their edges in mm; the centre of the grid is the origin."""

VOLUMES = (844, 83_757)
"""In mm3."""

BRAIN = (65.0, 82.0, 60.0)
"""Semi-axes of the brain, in mm."""

DRAWS = 6

ATTEMPTS = 20


def main() -> None:
    """Write the fixture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    points = np.random.RandomState(0).uniform(-5, 340, (200, 3))
    stored = {
        "noise_points": points,
        "noise_values": np.array([noise.snoise3(*each, octaves=4) for each in points]),
    }
    cases = []
    for index, (size, spacing) in enumerate(GRIDS):
        parts = make_head(size, spacing)
        for draw in range(DRAWS):
            torch.manual_seed(100 * index + draw)
            done = operate(parts)
            stored[f"mask{len(cases)}"] = np.packbits(done["label"].data[0].numpy() > 0)
            drawn = describe(done["random_resection"])
            cases.append({"size": size, "spacing": spacing, **drawn})
    heads = []
    for case in json.loads((args.folder / "cases.json").read_text()):
        volume = nib.load(args.folder / "masks" / f"{case['name']}.nii.gz")
        start, mask = cut(np.asarray(volume.dataobj) > 0)
        stored[f"head_mask{len(heads)}"] = np.packbits(mask)
        box = {"start": start, "size": mask.shape, "grid": volume.shape}
        heads.append({"name": case["name"], **box, **describe(case)})
    np.savez_compressed(args.output, cases=json.dumps(cases), heads=json.dumps(heads), **stored)


def describe(params: Mapping[str, Any]) -> dict[str, object]:
    """Give what resector drew as plain values."""
    return {
        "hemisphere": params["hemisphere"],
        "volume": float(params["volume"]),
        "centre": [float(each) for each in params["resection_center"]],
        "radii": [float(each) for each in params["radii"]],
        "angles": [float(each) for each in params["angles"]],
        "noise_offset": int(params["noise_offset"]),
    }


def cut(mask: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Cut a mask to its box."""
    found = np.argwhere(mask)
    low, high = found.min(axis=0), found.max(axis=0) + 1
    return low.tolist(), mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]


def make_head(size: tuple[int, int, int], spacing: tuple[float, float, float]) -> torchio.Subject:
    """Draw a head of two hemispheres; all of it can be resected and is grey matter."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(np.array(size) - 1) / 2 * spacing
    places = np.moveaxis(np.indices(size), 0, -1) @ affine[:3, :3] + affine[:3, 3]
    inside = (np.square(places / BRAIN).sum(axis=-1)) <= 1
    image = torch.from_numpy(100 * inside[None].astype(np.float32))
    parts = {
        "image": torchio.ScalarImage(tensor=image, affine=affine),
        "resection_noise": torchio.ScalarImage(tensor=torch.zeros_like(image), affine=affine),
    }
    for side, half in (("left", places[..., 0] < 0), ("right", places[..., 0] > 0)):
        mask = torch.from_numpy((inside & half)[None].astype(np.uint8))
        for kind in ("gray_matter", "resectable"):
            parts[f"resection_{kind}_{side}"] = torchio.LabelMap(tensor=mask, affine=affine)
    return torchio.Subject(parts)


def operate(parts: torchio.Subject) -> torchio.Subject:
    """Let resector draw and resect; it fails on some draws, which are repeated."""
    transform = RandomResection(volumes_range=VOLUMES, wm_lesion_p=0, clot_p=0)
    for _ in range(ATTEMPTS):
        try:
            return transform(copy.deepcopy(parts))
        except RuntimeError as error:
            reason = error
    raise reason


if __name__ == "__main__":
    main()
