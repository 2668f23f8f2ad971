"""The Swin of SMIT (Jiang et al. 2022, https://arxiv.org/abs/2205.10342).

Its queries, keys and values have no bias, its embedding is normalised, it joins octants in an order
of its own, and it scatters windows, see `volseg.networks.swin_padded`. The norms that it puts
before its decoder are left over: our maps come after the merges, and theirs before.
"""

from collections.abc import Mapping

from torch import Tensor

from volseg.errors import WeightsError
from volseg.networks.foreign.layout import Facts, Layout, Taker, Translation, count_blocks
from volseg.networks.foreign.swin_parts import SwinNames, translate_swin


def _translate(tensors: Mapping[str, Tensor], facts: Facts) -> Translation:
    if facts.octants not in (None, "smit"):
        raise WeightsError(f"octants are {facts.octants!r}; SMIT has one order, 'smit'")
    if "absolute_pos_embed" in tensors:
        raise WeightsError(
            "file has absolute positions (SMIT with ape), which our Swin encoder has not"
        )
    count = count_blocks(tensors, "layers.{}.blocks.0.norm1.weight")
    names = SwinNames([f"layers.{stage}." for stage in range(count)], ("fc1", "fc2"), "scattered")
    return translate_swin(Taker(tensors), names, "smit")


SMIT = Layout(
    "SMIT",
    (
        "layers.0.blocks.0.norm1.weight",
        "patch_embed.proj.weight",
        "layers.0.downsample.norm.weight",
    ),
    _translate,
)
