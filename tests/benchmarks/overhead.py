"""What a sliding window costs beside the network's own forward passes.

``python -m tests.benchmarks.overhead`` gives a residual network windows of one size, first alone,
as many as the sliding window takes, then through volseg's and MONAI's inferer. They take turns in
one process of one thread, and the figure is the median of the ratios of CPU seconds.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from monai.data.utils import dense_patch_slices
from monai.inferers import SlidingWindowInferer
from torch import Tensor

from volseg.inference.sliding_window import SlidingWindow
from volseg.networks.residual import ResidualEncoder
from volseg.networks.segmenter import Segmenter

OVERLAP = 0.5


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one JSON line for each number of classes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", nargs=3, type=int, default=[160, 160, 128])
    parser.add_argument("--window", type=int, default=96)
    parser.add_argument("--widths", nargs="+", type=int, default=[8, 16, 32, 64])
    parser.add_argument("--classes", nargs="+", type=int, default=[2, 14])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for classes in args.classes:
        print(json.dumps(compare(args, classes)), flush=True)


def compare(args: argparse.Namespace, classes: int) -> dict[str, object]:
    """Time the bare passes and both inferers in turn."""
    torch.manual_seed(0)
    network = Segmenter(ResidualEncoder(1, tuple(args.widths)), classes).eval()
    volume = torch.randn(1, 1, *args.size)
    window = (args.window,) * 3
    ours = SlidingWindow(window, OVERLAP)
    theirs = SlidingWindowInferer(window, 1, OVERLAP, mode="gaussian")
    step = (int(args.window * (1 - OVERLAP)),) * 3
    counts = {
        "volseg": ours.count_batches(args.size),
        "monai": len(dense_patch_slices(args.size, window, step)),
    }
    ratios: dict[str, list[float]] = {name: [] for name in counts}
    part = torch.randn(1, 1, *window)
    with torch.inference_mode():
        network(part)
        for _ in range(args.repeats):
            for name, inferer in (("volseg", ours), ("monai", theirs)):
                bare = seconds(lambda: network(part), counts[name])
                whole = seconds(lambda inferer=inferer: inferer(volume, network), 1)
                ratios[name].append(whole / bare)
    return {
        "classes": classes,
        "windows": counts,
        "ratio": {name: round(median(values), 3) for name, values in ratios.items()},
        "range": {name: [round(min(v), 3), round(max(v), 3)] for name, v in ratios.items()},
    }


def seconds(call: Callable[[], Tensor], times: int) -> float:
    """Measure the CPU seconds of a number of calls."""
    start = time.process_time()
    for _ in range(times):
        call()
    return time.process_time() - start


if __name__ == "__main__":
    main()
