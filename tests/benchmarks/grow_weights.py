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
from volseg.errors import VolsegError
from volseg.networks.card import Card
from volseg.networks.opening import read_card
from volseg.networks.weights import build_network, save_weights, segmenter_parts


def main(arguments: list[str] | None = None) -> None:
    """Write the grown weights."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--widths", type=int, nargs="+", required=True, help="of each level")
    parser.add_argument("--blocks", type=int, nargs="+", required=True, help="of each level")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    try:
        card = grown_card(read_card(args.weights), args.widths, args.blocks)
    except VolsegError as error:
        parser.error(str(error))
    torch.manual_seed(args.seed)
    small, large = loaded(args.weights), build_network(card)
    grow(small, large)
    save_weights(args.output, segmenter_parts(large), card)


def grown_card(card: Card, widths: list[int], blocks: list[int]) -> Card:
    """Describe the larger network.

    Args:
        card: Of the network that grows.
        widths: Channels of each level, at least as many as before.
        blocks: Blocks of each level, at least as many as before.

    Returns:
        The same card, of a network of these sizes.

    Raises:
        VolsegError: If the network has no such levels, or a level would shrink.
    """
    encoder = card.network.get("encoder", {})
    if "widths" not in encoder or "blocks" not in encoder:
        raise VolsegError(
            f"the encoder is {encoder.get('_target_')} without widths and blocks; only a"
            " ResidualEncoder that says both grows"
        )
    for what, asked in (("widths", widths), ("blocks", blocks)):
        old = encoder[what]
        if len(asked) != len(old) or any(a < b for a, b in zip(asked, old, strict=True)):
            raise VolsegError(
                f"{what} are {asked}, and those of the weights {old}; give as many, none smaller"
            )
    larger = {**encoder, "widths": widths, "blocks": blocks}
    return replace(card, network={**card.network, "encoder": larger})


def grow(small: nn.Module, large: nn.Module) -> None:
    """Give a larger network the weights of a smaller one, so that it computes the same.

    Args:
        small: A network with weights.
        large: The same with more channels and blocks; its weights are replaced.
    """
    old = dict(small.named_parameters())
    with torch.no_grad():
        for name, value in large.named_parameters():
            if name in old:
                _fill(name, value, old[name])
            elif name.endswith(("norm2.weight", "norm2.bias")):
                value.zero_()


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
