"""Networks: volseg's UNETR and Swin UNetFormer against MONAI's UNETR and SwinUNETR of equal size.

Run ``python -m tests.benchmarks.networks``. Widths, depths, heads, window and patch are the same on
both sides, and so are the encoder's weights. A training step (forward, cross-entropy, backward) and
an inference pass take turns with the peer's in one process of one thread; the figures are CPU time
and how many times as fast volseg is: best against best, and the range over the pairs. Memory is
what one pass adds to a fresh process at its peak.

Beside the time the results are compared, and the run fails where they differ: the maps of the Swin
encoders, on a volume whose grids the window divides, since elsewhere MONAI attends to its padding
(an odd window divides no four grids of a small volume, so the next smaller one is compared); for
UNETR the hidden states, and the logits from MONAI's hidden states and decoder weights. The decoder
of UNetFormer is lighter than SwinUNETR's by design, so ``encoder`` compares the encoders alone.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import monai
import torch
from monai.networks.nets import UNETR, SwinUNETR
from torch.nn import functional

from tests.networks.peers import copy_swin, copy_vit, peer_of_swin, unetr_block_pairs
from volseg.networks.decoder_unetr import UnetrDecoder
from volseg.networks.segmenter import Segmenter
from volseg.networks.swin import SwinEncoder
from volseg.networks.vit import ViTEncoder

LARGEST_ERROR = 1e-4
"""Of features of unit spread, in single precision through eight blocks and more."""
CLASSES = 3
HEADS = (3, 6, 12, 24)
MODES = ("train", "infer")


def make_encoder(settings):
    """Build volseg's Swin encoder and MONAI's."""
    ours = SwinEncoder(1, settings["width"], (2, 2, 2, 2), HEADS, settings["window"])
    return ours, peer_of_swin(ours)


def make_swin(settings):
    """Build volseg's Swin UNetFormer and MONAI's SwinUNETR."""
    width, window = settings["width"], settings["window"]
    ours = Segmenter(SwinEncoder(1, width, (2, 2, 2, 2), HEADS, window), CLASSES, num_heads=1)
    theirs = SwinUNETR(
        1, CLASSES, feature_size=width, window_size=window, num_heads=HEADS, downsample="mergingv2"
    )
    copy_swin(ours.encoder, theirs.swinViT)
    return ours, theirs


def make_unetr(settings):
    """Build both UNETRs."""
    width, size = settings["hidden"], (settings["size"],) * 3
    encoder = ViTEncoder(1, size, 16, width, 12, width // 64)
    ours = Segmenter(encoder, CLASSES, UnetrDecoder, num_heads=1)
    theirs = UNETR(
        1,
        CLASSES,
        size,
        hidden_size=width,
        mlp_dim=4 * width,
        num_heads=width // 64,
        qkv_bias=True,
    )
    copy_vit(encoder, theirs.vit)
    for our_part, their_part in unetr_block_pairs(ours.decoder, theirs):
        our_part.load_state_dict(their_part.state_dict(), strict=False)
    return ours, theirs


MAKERS = {"encoder": make_encoder, "swin": make_swin, "unetr": make_unetr}


def largest_error(kind, networks, settings):
    """Compare the results of networks with the same weights."""
    ours, theirs = networks
    if kind == "unetr":
        return unetr_error(ours, theirs, settings["size"])
    window = settings["window"] // 2 * 2
    if window != settings["window"]:
        ours, theirs = MAKERS[kind]({**settings, "window": window})
    if kind == "swin":
        ours, theirs = ours.encoder, theirs.swinViT
    volume = torch.randn(1, 1, *(16 * window,) * 3)
    pairs = zip(ours(volume), theirs(volume), strict=True)
    return max((one - two).abs().max().item() for one, two in pairs)


def unetr_error(ours, theirs, size):
    """Compare hidden states, and logits from the hidden states that MONAI decodes."""
    volume = torch.randn(1, 1, *(size,) * 3)
    last, states = theirs.vit(volume)
    maps = [theirs.proj_feat(state) for state in (*states, last)]
    taps = [maps[2], maps[5], maps[8], maps[12]]
    errors = [(one - two).abs().max() for one, two in zip(ours.encoder(volume), taps, strict=True)]
    decoded = ours.decoder(volume, [maps[3], maps[6], maps[9], maps[12]])[0]
    errors.append((theirs.out(decoded) - theirs(volume)).abs().max())
    return max(errors).item()


def run(network, volume, labels, mode):
    """Run one training step, without the optimizer, or one inference pass."""
    with torch.set_grad_enabled(mode == "train"):
        result = network(volume)
        if mode == "train":
            is_pyramid = isinstance(result, list)
            loss = (
                sum(level.square().mean() for level in result)
                if is_pyramid
                else functional.cross_entropy(result, labels)
            )
            network.zero_grad()
            loss.backward()


def make_case(settings):
    """Make a batch of noise with labels."""
    generator = torch.Generator().manual_seed(0)
    size = (settings["size"],) * 3
    volume = torch.randn(settings["batch"], 1, *size, generator=generator)
    labels = torch.randint(CLASSES, (settings["batch"], *size), generator=generator)
    return volume, labels


def time_in_turn(networks, settings, repeats):
    """Measure CPU seconds of both networks in each mode, in turn, after a pass to warm up."""
    case = make_case(settings)
    figures = {}
    for mode in MODES:
        seconds = {name: [] for name in networks}
        for repeat in range(repeats + 1):
            for name, network in networks.items():
                start = time.process_time()
                run(network, *case, mode)
                if repeat:
                    seconds[name].append(time.process_time() - start)
        ratios = [b / a for a, b in zip(seconds["volseg"], seconds["monai"], strict=True)]
        best = {name: min(times) for name, times in seconds.items()}
        figures[mode] = {
            "seconds": {name: round(value, 3) for name, value in best.items()},
            "times_as_fast": round(best["monai"] / best["volseg"], 2),
            "range": [round(min(ratios), 2), round(max(ratios), 2)],
        }
    return figures


def memory_of_process(field):
    """Read this process's memory in MB: ``VmHWM`` at its peak, ``VmRSS`` now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def measure_memory(kind, index, mode, settings, queue):
    """Report the MB that a second pass adds to the peak of a fresh process.

    The first loads what the libraries load at first use.
    """
    torch.set_num_threads(1)
    network = MAKERS[kind](settings)[index]
    case = make_case(settings)
    run(network, *case, mode)
    network.zero_grad()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = memory_of_process("VmRSS")
    run(network, *case, mode)
    queue.put(memory_of_process("VmHWM") - before)


def peak_memory(kind, index, mode, settings):
    """Run `measure_memory` in a process of its own, which gives freed tensors back at once."""
    os.environ["MALLOC_MMAP_THRESHOLD_"] = os.environ["MALLOC_TRIM_THRESHOLD_"] = "65536"
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=measure_memory, args=(kind, index, mode, settings, queue))
    process.start()
    megabytes = queue.get(timeout=600)
    process.join()
    return round(megabytes)


def compare(kind, settings, repeats):
    """Compare one of volseg's networks with its peer."""
    torch.manual_seed(0)
    pair = MAKERS[kind](settings)
    networks = dict(zip(("volseg", "monai"), pair, strict=True))
    with torch.no_grad():
        error = largest_error(kind, pair, settings)
    figures = time_in_turn(networks, settings, repeats)
    for mode in MODES:
        figures[mode]["peak_mb"] = {
            name: peak_memory(kind, index, mode, settings) for index, name in enumerate(networks)
        }
    counts = {n: sum(p.numel() for p in net.parameters()) for n, net in networks.items()}
    return {
        "network": kind,
        **settings,
        **figures,
        "largest_error": error,
        "parameters": counts,
        "versions": {"torch": torch.__version__, "monai": monai.__version__},
    }


def faults(result, limit):
    """Say what is wrong with a comparison."""
    found = []
    if not result["largest_error"] < LARGEST_ERROR:
        found.append(f"results differ by {result['largest_error']}")
    for mode in MODES:
        figures = result[mode]
        if figures["times_as_fast"] < limit:
            found.append(f"{mode} is {figures['times_as_fast']} times as fast; limit {limit}")
        if figures["peak_mb"]["volseg"] > figures["peak_mb"]["monai"]:
            found.append(f"{mode} takes more memory")
    return [f"{result['network']}: {fault}" for fault in found]


def main():
    """Print a JSON line a network and fail where a check or a limit fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(MAKERS))
    parser.add_argument("--size", type=int, default=64, help="voxels of the volume's edge")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--width", type=int, default=24, help="features of Swin's first level")
    parser.add_argument("--window", type=int, default=7, help="tokens of Swin's window")
    parser.add_argument("--hidden", type=int, default=384, help="channels of UNETR's tokens")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=0.95, help="how fast at least, to MONAI's 1")
    settings = vars(parser.parse_args())
    kinds, repeats = settings.pop("networks") or list(MAKERS), settings.pop("repeats")
    limit = settings.pop("limit")
    torch.set_num_threads(1)
    found = []
    for kind in kinds:
        result = compare(kind, settings, repeats)
        print(json.dumps(result), flush=True)
        found += faults(result, limit)
    print("; ".join(found) or "ok", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
