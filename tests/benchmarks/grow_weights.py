"""Give trained weights more channels and blocks, without changing what the network computes.

``python -m tests.benchmarks.grow_weights WEIGHTS.safetensors --widths 24 64 112 176
--blocks 1 2 3 2 --output GROWN.safetensors`` enlarges a residual encoder and its decoder.
Old channels keep their weights and take nothing from new ones, which begin at random; a new block
begins as one that passes its input on (Net2Net, Chen et al. 2016, https://arxiv.org/abs/1511.05641).
What was learned is then where a larger network starts (``--encoder GROWN.safetensors``). Only
where a new block follows a leaky activation are negative values scaled once more, by 0.01.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.benchmarks.mean_weights import loaded
from volseg.networks.decoder_subpixel import SubpixelDecoder
from volseg.networks.opening import read_card
from volseg.networks.residual import ResidualEncoder
from volseg.networks.segmenter import Segmenter
from volseg.networks.weights import save_weights, segmenter_parts


def main(arguments: list[str] | None = None) -> None:
    """Write the grown weights."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--widths", type=int, nargs="+", required=True, help="of each level")
    parser.add_argument("--blocks", type=int, nargs="+", required=True, help="of each level")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    torch.manual_seed(args.seed)
    network = grown(loaded(args.weights), tuple(args.widths), tuple(args.blocks))
    card = read_card(args.weights)
    encoder = {**card.network["encoder"], "widths": args.widths, "blocks": args.blocks}
    card = replace(card, network={**card.network, "encoder": encoder})
    save_weights(args.output, segmenter_parts(network), card)


def grown(network: nn.Module, widths: tuple[int, ...], blocks: tuple[int, ...]) -> Segmenter:
    """Build a larger network that computes the same.

    Args:
        network: A segmenter over a residual encoder with patches.
        widths: Channels of each level, at least as many as before.
        blocks: Blocks of each level, at least as many as before.

    Returns:
        The larger network.
    """
    assert isinstance(network, Segmenter)
    assert isinstance(network.encoder, ResidualEncoder)
    spec = network.encoder.spec
    patch = spec.strides[0]
    encoder = ResidualEncoder(spec.in_channels, widths, blocks, patch=patch)
    large = Segmenter(encoder, network.num_classes, SubpixelDecoder, len(network.heads))
    old = dict(network.named_parameters())
    with torch.no_grad():
        for name, value in large.named_parameters():
            if name in old:
                _fill(name, value, old[name])
            elif name.endswith(("norm2.weight", "norm2.bias")):
                value.zero_()
    return large


def _fill(name: str, large: Tensor, small: Tensor) -> None:
    """Put old weights into new ones; old outputs take nothing from new inputs."""
    if small.ndim == 1:
        large[: len(small)] = small
        return
    is_transposed = ".transp_conv." in name
    new, old = (t.transpose(0, 1) if is_transposed else t for t in (large, small))
    outputs = len(old)
    new[:outputs] = 0
    # a decoder's block sees the enlarged map and the skip one after the other
    parts = 2 if ".conv_block.conv1." in name or ".conv_block.conv3." in name else 1
    for wide, narrow in zip(
        new[:outputs].chunk(parts, dim=1), old.chunk(parts, dim=1), strict=True
    ):
        wide[:, : narrow.shape[1]] = narrow


if __name__ == "__main__":
    main()
