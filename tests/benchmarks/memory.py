"""Peak memory of ``volseg segment``, imports and all: flat in the classes, and below a ceiling.

``python -m tests.benchmarks.memory --depth 400 --classes 1 14 118 --ceilings none 4G`` makes a CT
of 512 x 512 x 400 voxels of 16 bits and runs the command line on it in a process of its own for
each number of classes beside the background and each ceiling. Each line has the largest resident
memory of that process and of what it started, as the system counts it (``ru_maxrss``); the memory
of the same command on a volume of 32 voxels an edge, which is the imports, the network and one
window; and what is between the two, in volumes of single precision. The network is one convolution
of 1 x 1 x 1, so that hardly any time goes into it; all else is real.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from scipy import ndimage

from volseg.inference.memory import parse_bytes

EDGE = 512
"""Voxels along the first two axes."""

VOXEL = (0.8, 0.8, 1.0)

RANGE = (-1024, 1024)

SMALL = 32

MIB = 2**20


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a line of JSON a run, and fail where a ceiling was passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=400, help="slices of the volume")
    parser.add_argument("--classes", nargs="+", type=int, default=[1, 14, 118])
    parser.add_argument("--ceilings", nargs="+", default=["none"], metavar="SIZE")
    parser.add_argument("--spacing", nargs=3, type=float, default=[1.5, 1.5, 1.5])
    parser.add_argument("--native", action="store_true", help="work on the volume's own grid")
    parser.add_argument("--window", type=int, default=96)
    parser.add_argument("--overlap", type=float, default=0.25)
    parser.add_argument("--normalizer", choices=("foreground", "window"), default="foreground")
    args = parser.parse_args(arguments)
    passed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        volume = make_ct(folder / "ct.nii", (EDGE, EDGE, args.depth))
        small = make_ct(folder / "small.nii", (SMALL,) * 3)
        for classes in args.classes:
            bundle = make_bundle(folder / f"tiny_{classes}_segmentation", classes + 1, args)
            base = run(small, bundle, folder / f"small_{classes}", None)
            for ceiling in args.ceilings:
                most = None if ceiling == "none" else ceiling
                found = run(volume, bundle, folder / f"masks_{classes}_{ceiling}", most)
                found |= {"classes": classes, "ceiling": ceiling, "base_mib": base["peak_mib"]}
                voxels = EDGE * EDGE * args.depth * 4 / MIB
                found["volumes"] = round((found["peak_mib"] - base["peak_mib"]) / voxels, 2)
                passed |= most is not None and found["peak_mib"] * MIB > parse_bytes(most)
                print(json.dumps(found), flush=True)
    if passed:
        print("a ceiling was passed", file=sys.stderr)
    return int(passed)


def make_ct(path: Path, shape: Sequence[int]) -> Path:
    """Write smooth blobs in Hounsfield units, a slab at a time."""
    noise = np.random.default_rng(0).normal(size=(16, 16, 16))
    smooth = ndimage.gaussian_filter(noise, 1) * 3000
    plane = ndimage.zoom(smooth, [shape[0] / 16, shape[1] / 16, 1], order=1)
    values = np.empty(shape, np.int16, order="F")
    for index, place in enumerate(np.linspace(0, 15, shape[2])):
        low = min(int(place), 14)
        mixed = plane[..., low] + (place - low) * (plane[..., low + 1] - plane[..., low])
        values[..., index] = mixed.clip(*RANGE)
    nib.save(nib.Nifti1Image(values, np.diag([-VOXEL[0], -VOXEL[1], VOXEL[2], 1])), path)
    return path


def make_bundle(root: Path, channels: int, args: argparse.Namespace) -> Path:
    """Write a bundle of one convolution with random weights."""
    network = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": channels}
    normalizers = {
        "foreground": {"_target_": "volseg.transforms.intensity.NormalizeForegroundd"},
        "window": {
            "_target_": "volseg.transforms.intensity.ScaleWindowd",
            "lower": RANGE[0],
            "upper": RANGE[1],
        },
    }
    inference = {
        "bundle_root": ".",
        "network_def": {**network, "kernel_size": 1},
        "preprocessing": {
            "_target_": "volseg.data.pipelines.preprocessing",
            "spacing": None if args.native else args.spacing,
            "normalizer": {**normalizers[args.normalizer], "keys": ["image"]},
        },
        "inferer": {
            "_target_": "volseg.inference.sliding_window.SlidingWindow",
            "roi_size": [args.window] * 3,
            "overlap": args.overlap,
        },
    }
    names = {str(value): f"class {value}" for value in range(channels)}
    metadata = {"network_data_format": {"outputs": {"pred": {"channel_def": names}}}}
    for name, content in (("inference", inference), ("metadata", metadata)):
        (root / "configs").mkdir(parents=True, exist_ok=True)
        (root / "configs" / f"{name}.json").write_text(json.dumps(content))
    torch.manual_seed(0)
    layer = torch.nn.Conv3d(1, channels, kernel_size=1)
    layer.weight.data *= 20
    (root / "models").mkdir()
    torch.save(layer.state_dict(), root / "models" / "model.pt")
    return root


def run(volume: Path, bundle: Path, output: Path, ceiling: str | None) -> dict[str, Any]:
    """Segment in a process of its own; give its seconds and its peak."""
    command = [sys.executable, "-c", "from volseg.cli.main import main; raise SystemExit(main())"]
    command += ["segment", str(volume), "--bundle", str(bundle), "--output", str(output)]
    command += ["--device", "cpu", "--quiet"]
    command += ["--max-memory", ceiling] if ceiling else []
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
        assert child.stderr is not None
        text = child.stderr.read().decode()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    lines = [line for line in text.splitlines() if line.strip()]
    return {
        "peak_mib": usage.ru_maxrss // 1024,
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        **({"failed": lines[-1:]} if child.returncode else {}),
    }


if __name__ == "__main__":
    sys.exit(main())
