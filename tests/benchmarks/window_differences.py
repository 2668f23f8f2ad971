"""Where volseg and MONAI label otherwise with one network, and why: padding, places, weights.

``python -m tests.benchmarks.window_differences VOLUME`` segments a volume with a residual network
of random weights, whose labels depend on everything in its window, and prints what share of the
voxels gets the same label: with MONAI's padding of zeros, with that of border voxels, as volseg
pads, and with volseg's windows at MONAI's places, after which only the weights of a window's edge
differ.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.data.utils import dense_patch_slices
from monai.inferers import SlidingWindowInferer

from volseg.inference.sliding_window import SlidingWindow
from volseg.inference.window_axes import axis_weights
from volseg.networks.residual import tiny
from volseg.networks.segmenter import Segmenter

WINDOW = (64, 64, 64)

OVERLAP = 0.5

CLASSES = 14


class SteppingWindow(SlidingWindow):
    """Places windows as MONAI does: by whole steps, and the last one at the end."""

    def _axis(
        self, length: int, window: int, device: torch.device
    ) -> list[tuple[int, torch.Tensor]]:
        step = int(window * (1 - self.overlap))
        starts = [place[0].start for place in dense_patch_slices([length], [window], [step])]
        weights = axis_weights(length, window, starts).to(device)
        return list(zip(starts, weights, strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the shares as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volume", type=Path)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = Segmenter(tiny(1), CLASSES).eval()
    values = nib.load(args.volume).get_fdata(dtype=np.float32)
    scaled = (values - values.mean()) / values.std()
    volume = torch.from_numpy(scaled)[None, None]
    ours = {
        "own places": SlidingWindow(WINDOW, OVERLAP),
        "MONAI's places": SteppingWindow(WINDOW, OVERLAP),
    }
    theirs = {
        f"{mode} padding": SlidingWindowInferer(
            WINDOW, 1, OVERLAP, mode="gaussian", padding_mode=mode
        )
        for mode in ("constant", "replicate")
    }
    with torch.no_grad():
        labels = {
            name: inferer(volume, network).argmax(1) for name, inferer in {**ours, **theirs}.items()
        }
    shares = {
        f"{place}, {padding}": round((labels[place] == labels[padding]).float().mean().item(), 3)
        for place in ours
        for padding in theirs
    }
    print(json.dumps({"shape": list(values.shape), **shares}))


if __name__ == "__main__":
    main()
