"""The residual encoder of nnU-Net and nnssl, as OpenMind publishes it.

A state dict of nnU-Net names each tensor twice, as ``conv`` and in ``all_modules``, and holds the
encoder once more within the decoder. Factors between levels have no tensor; they are two along
each axis in OpenMind, and the user's to say elsewhere.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from volseg.errors import WeightsError
from volseg.networks.foreign.layout import Facts, Layout, Taker, Translation, count_blocks

OTHERS = {
    "conv3": "bottleneck blocks",
    "squeeze_excitation": "squeeze and excitation",
    "convs.1": "a stem of several convolutions",
}
"""What the public class may have and our encoder has not, by a part of its names."""


def _translate(tensors: Mapping[str, Tensor], facts: Facts) -> Translation:
    for part, what in OTHERS.items():
        if any(f".{part}." in name for name in tensors if name.startswith(("stem.", "stages."))):
            raise WeightsError(f"file has {what}, which our ResEncEncoder has not")
    source = Taker(tensors)
    levels = count_blocks(tensors, "stages.{}.blocks.0.conv1.conv.weight")
    ours = _translate_convolution(source, "stem.convs.0", "stem")
    widths, blocks, kernels = [], [], []
    for level in range(levels):
        stage = f"stages.{level}.blocks."
        count = count_blocks(tensors, stage + "{}.conv1.conv.weight")
        for block in range(count):
            ours |= _translate_block(source, f"{stage}{block}.", f"levels.{level}.{block}.")
        kernel = tensors[f"{stage}0.conv1.conv.weight"]
        widths.append(len(kernel))
        blocks.append(count)
        kernels.append(list(kernel.shape[2:]))
    steps = facts.downsampling or ((2, 2, 2),) * (levels - 1)
    notes = []
    if facts.downsampling is None:
        notes.append("factors between levels are not stored: taken to be 2 along each axis")
    if "stem.convs.0.conv.bias" in tensors:
        notes.append("biases before a norm have no effect and were left out")
    config = {
        "_target_": "volseg.networks.resenc.ResEncEncoder",
        "in_channels": tensors["stem.convs.0.conv.weight"].shape[1],
        "widths": widths,
        "blocks": blocks,
        "downsampling": [list(step) for step in steps],
        "kernels": kernels,
    }
    return Translation(config, ours, frozenset(source.used), tuple(notes))


def _translate_convolution(source: Taker, theirs: str, ours: str) -> dict[str, Tensor]:
    return {
        f"{ours}.conv.weight": source.take(f"{theirs}.conv.weight"),
        **source.take_pair(f"{theirs}.norm", f"{ours}.norm"),
    }


def _translate_block(source: Taker, theirs: str, ours: str) -> dict[str, Tensor]:
    found = {
        **_translate_convolution(source, f"{theirs}conv1", f"{ours}conv1"),
        **_translate_convolution(source, f"{theirs}conv2", f"{ours}conv2"),
    }
    projections = [re.fullmatch(rf"{re.escape(theirs)}skip\.(\d)\.conv\.weight", name)
                   for name in source.tensors]  # fmt: skip
    for match in filter(None, projections):
        found |= _translate_convolution(source, f"{theirs}skip.{match[1]}", f"{ours}shortcut")
    return found


NNUNET_RESENC = Layout(
    "nnU-Net ResEnc (nnssl, OpenMind)",
    ("stem.convs.0.conv.weight", "stages.0.blocks.0.conv1.conv.weight"),
    _translate,
)
