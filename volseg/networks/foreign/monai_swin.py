"""The Swin of MONAI: SwinUNETR, the heads around ``model_swinvit.pt``, disrupted autoencoders.

Sources: Swin UNETR (Tang et al. 2022, https://arxiv.org/abs/2111.14791) and the disrupted
autoencoders (Valanarasu et al. 2023, https://arxiv.org/abs/2307.16896), whose lists of layers are
nested once more. The order of the octants changed with MONAI 1.5.0 and is not in the file.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from volseg.errors import WeightsError
from volseg.networks.foreign.layout import Facts, Layout, Taker, Translation
from volseg.networks.foreign.swin_parts import SwinNames, translate_swin

ORDERS = {
    "monai_before_1_5": "trained with MONAI before 1.5, such as model_swinvit.pt",
    "monai_1_5": "trained with MONAI 1.5 or later",
    "v2": "trained with downsample='mergingv2'",
}
NESTED = re.compile(r"^(layers\d)\.0\.0\.")


def _translate(tensors: Mapping[str, Tensor], facts: Facts) -> Translation:
    if "layers1c.0.layer.conv1.conv.weight" in tensors:
        raise WeightsError(
            "file is of SwinUNETR with use_v2, which has convolutions before each stage; our Swin"
            " encoder has none and cannot compute the same"
        )
    if facts.octants is not None and facts.octants not in ORDERS:
        raise WeightsError(f"octants are {facts.octants!r}; MONAI's are one of {list(ORDERS)}")
    plain = {NESTED.sub(r"\1.0.", name): name for name in tensors}
    stages = [f"layers{number}.0." for number in range(1, 10)]
    present = [stage for stage in stages if f"{stage}blocks.0.norm1.weight" in plain]
    is_old = "layers1.0.blocks.0.mlp.fc1.weight" in plain
    perceptron = ("fc1", "fc2") if is_old else ("linear1", "linear2")
    names = SwinNames(present, perceptron, "clamped")
    source = Taker({short: tensors[name] for short, name in plain.items()})
    found = translate_swin(source, names, facts.octants or "v2")
    said = ", ".join(f"{order} ({why})" for order, why in ORDERS.items())
    unsaid = {} if facts.octants else {"octants": said}
    used = frozenset(plain[name] for name in found.used)
    return Translation(found.config, found.tensors, used, found.notes, unsaid)


MONAI_SWIN = Layout(
    "MONAI Swin (SwinUNETR, model_swinvit.pt)",
    ("layers1.0.blocks.0.norm1.weight", "patch_embed.proj.weight"),
    _translate,
)
MONAI_SWIN_NESTED = Layout(
    "MONAI Swin of disrupted autoencoders",
    ("layers1.0.0.blocks.0.norm1.weight", "patch_embed.proj.weight"),
    _translate,
)
