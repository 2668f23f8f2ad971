"""Average the weights of a network before and after it was trained further.

``python -m tests.benchmarks.mean_weights BEFORE.safetensors AFTER.safetensors --output FOLDER``
writes ``model.safetensors`` and ``model.pt``. Both must be of one architecture, and AFTER must have
begun as BEFORE. The mean keeps more of what the first training taught than the last weights do
(Wortsman et al. 2022, https://arxiv.org/abs/2109.01903). The card is that of AFTER, which names
BEFORE's data as those of its pretraining.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from volseg.networks.opening import read_card
from volseg.networks.weights import (
    build_network,
    load_segmenter,
    save_state_dict,
    save_weights,
    segmenter_parts,
)


def main(arguments: list[str] | None = None) -> None:
    """Write the mean."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.5, help="of AFTER, 0 to 1")
    parser.add_argument("--licence", help="of AFTER's data, for its card")
    parser.add_argument("--half", action="store_true", help="write float16, half as large")
    args = parser.parse_args(arguments)
    args.output.mkdir(parents=True, exist_ok=True)
    network = mean(loaded(args.before), loaded(args.after), args.share)
    parts, card = segmenter_parts(network), read_card(args.after)
    if args.licence:
        card = replace(card, data={**card.data, "licence": args.licence})
    dtype = torch.float16 if args.half else torch.float32
    save_weights(args.output / "model.safetensors", parts, card, dtype=dtype)
    save_state_dict(args.output / "model.pt", network, dtype=dtype)


def loaded(path: Path) -> nn.Module:
    """Build the network of a weights file."""
    network = build_network(read_card(path))
    load_segmenter(network, path)
    return network


def mean(before: nn.Module, after: nn.Module, share: float) -> nn.Module:
    """Put the mean of two networks into the second."""
    first = before.state_dict()
    with torch.no_grad():
        for name, value in after.state_dict().items():
            if value.is_floating_point():
                value.lerp_(first[name], 1 - share)
    return after


if __name__ == "__main__":
    main()
