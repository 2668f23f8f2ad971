"""Blending windows: volseg's SlidingWindow against MONAI's SlidingWindowInferer.

Run ``python tests/benchmarks/sliding_window.py``. The network is a convolution of one voxel, so
nearly all the time goes into cutting, weighting and adding windows. Both inferers see the same
volume, network, window and overlap, and take turns in one process of one thread; the figure is CPU
time, the best of several turns. Memory is what the first run adds to a fresh process at its peak,
looked at every half millisecond. For a network of one voxel every blend gives the unblended result,
so both are compared with it, and the run fails where they differ, or where volseg is slower than
the limit or takes more memory.
"""

import argparse
import json
import multiprocessing
import sys
import threading
import time

import monai
import psutil
import torch
from monai.inferers import SlidingWindowInferer

from volseg.inference.sliding_window import SlidingWindow

LARGEST_ERROR = 1e-4
"""Between blended and unblended logits of unit size: single precision over tens of windows."""


def make_inferer(name, window, overlap, batch_size):
    """Build one of the two, with Gaussian weights."""
    if name == "volseg":
        return SlidingWindow((window,) * 3, overlap, batch_size)
    return SlidingWindowInferer((window,) * 3, batch_size, overlap, mode="gaussian")


def make_case(size, classes):
    """Make a volume and a network of one voxel."""
    generator = torch.Generator().manual_seed(0)
    network = torch.nn.Conv3d(1, classes, 1)
    with torch.no_grad():
        network.weight.normal_(generator=generator)
        network.bias.normal_(generator=generator)
    return torch.randn(1, 1, *(size,) * 3, generator=generator), network.eval()


def measure_memory(name, settings, queue):
    """Report the MB that one run adds to the peak of a fresh process."""
    torch.set_num_threads(1)
    volume, network = make_case(settings["size"], settings["classes"])
    inferer = make_inferer(name, *(settings[key] for key in ("window", "overlap", "batch_size")))
    process, stopped = psutil.Process(), threading.Event()
    before = process.memory_info().rss
    peak = before

    def watch():
        nonlocal peak
        while not stopped.wait(0.0005):
            peak = max(peak, process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    with torch.no_grad():
        inferer(volume, network)
    stopped.set()
    thread.join()
    queue.put((peak - before) / 2**20)


def peak_memory(name, settings):
    """Run `measure_memory` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=measure_memory, args=(name, settings, queue))
    process.start()
    megabytes = queue.get(timeout=600)
    process.join()
    return round(megabytes)


def compare(settings, repeats):
    """Time both in turn, check their results and measure their memory."""
    volume, network = make_case(settings["size"], settings["classes"])
    arguments = [settings[key] for key in ("window", "overlap", "batch_size")]
    inferers = {name: make_inferer(name, *arguments) for name in ("volseg", "monai")}
    seconds = {name: [] for name in inferers}
    errors, labels = {}, {}
    with torch.no_grad():
        expected = network(volume)
        for _ in range(repeats):
            for name, inferer in inferers.items():
                start = time.process_time()
                logits = inferer(volume, network)
                seconds[name].append(time.process_time() - start)
                errors[name] = (logits - expected).abs().max().item()
                labels[name] = logits.argmax(1)
    disagreement = (labels["volseg"] != labels["monai"]).sum().item() / labels["monai"].numel()
    best = {name: min(times) for name, times in seconds.items()}
    return {
        **settings,
        "seconds": {name: round(value, 3) for name, value in best.items()},
        "ratio": round(best["volseg"] / best["monai"], 3),
        "peak_mb": {name: peak_memory(name, settings) for name in inferers},
        "largest_error": errors,
        "disagreement": disagreement,
        "versions": {"torch": torch.__version__, "monai": monai.__version__},
    }


def main():
    """Print one JSON line and fail where a check or a limit fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128, help="voxels of the volume's edge")
    parser.add_argument("--window", type=int, default=64, help="voxels of the window's edge")
    parser.add_argument("--classes", type=int, default=14)
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--batch-size", type=int, default=1, help="windows at once")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=1.0, help="largest ratio of CPU times")
    options = vars(parser.parse_args())
    repeats, limit = options.pop("repeats"), options.pop("limit")
    torch.set_num_threads(1)
    result = compare(options, repeats)
    print(json.dumps(result))
    failures = []
    if max(result["largest_error"].values()) > LARGEST_ERROR or result["disagreement"] > 1e-5:
        failures.append("the results differ")
    if result["ratio"] > limit:
        failures.append(f"CPU time is {result['ratio']} times MONAI's; the limit is {limit}")
    if result["peak_mb"]["volseg"] > result["peak_mb"]["monai"]:
        failures.append("volseg takes more memory than MONAI")
    print("; ".join(failures) or "ok", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
