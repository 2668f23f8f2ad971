"""What fine-tuning has kept of an encoder: how alike each level is before and after.

Jiang, Rangnekar and Veeraraghavan 2024 (https://arxiv.org/abs/2405.08657) look at the reuse of
features layer by layer; here at each level of the pyramid, by mean and spread of its maps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.transforms import ResizeWithPadOrCrop
from numpy.typing import NDArray
from torch import Tensor

from volseg.data.case import Case
from volseg.errors import WeightsError
from volseg.evaluation.cka import linear_cka, require_samples
from volseg.inference.predictor import Predictor
from volseg.networks.encoder import Encoder
from volseg.workflows.pages import write_section, write_table
from volseg.workflows.probe_encoders import load_arms

SAID = (
    "Linear CKA without bias of each level of the encoder before and after fine-tuning, on the same"
    " cases: 1 means equal but for rotation and scale, 0 unrelated. Mean over the runs; in brackets"
    " the lowest and the highest run."
)


@dataclass(frozen=True)
class Reuse:
    """A level of an encoder, before and after.

    Args:
        arm: Name of the arm.
        stride: Input voxels per feature voxel along the first axis.
        runs: CKA of each run.
    """

    arm: str
    stride: int
    runs: tuple[float, ...]


def measure_reuse(
    before: Path, arms: Mapping[str, Sequence[Predictor]], cases: Sequence[Case]
) -> list[Reuse]:
    """Compare encoders with the one that they were fine-tuned from.

    Args:
        before: Its weights, or the run or bundle that holds them.
        arms: The networks of each arm, by name.
        cases: What both look at, at least `volseg.evaluation.cka.LEAST`; of each the middle, a
            patch of the encoder's size.

    Returns:
        One comparison an arm and level, finest first; fewer cases are refused.

    Raises:
        WeightsError: If a network has no encoder of the same levels.
    """
    require_samples(len(cases))
    (start, *_), _ = load_arms([f"before={before}"], [], None, 0)
    fit = ResizeWithPadOrCrop(start.patch_size, mode="edge")
    found = []
    for name, runs in arms.items():
        values = []
        for run in runs:
            encoder = getattr(run.network, "encoder", None)
            if not isinstance(encoder, Encoder) or encoder.spec != start.encoder.spec:
                raise WeightsError(f"{name}: its network does not hold an encoder like {before}")
            images = [fit(run.load(list(case.images)).prepared.image) for case in cases]
            pair = [_levels(each, images, run.device) for each in (start.encoder, encoder)]
            values.append([linear_cka(*level) for level in zip(*pair, strict=True)])
        strides = [stride[0] for stride in start.encoder.spec.strides]
        by_level = zip(strides, zip(*values, strict=True), strict=True)
        found += [Reuse(name, stride, runs_of_level) for stride, runs_of_level in by_level]
    return found


def reuse_rows(found: Sequence[Reuse]) -> list[list[str]]:
    """Lay the comparison out, one row a level.

    Args:
        found: What `measure_reuse` gave.

    Returns:
        Cells, the headings first.
    """
    arms = list(dict.fromkeys(each.arm for each in found))
    rows = [["stride", *(f"CKA, {arm}" for arm in arms)]]
    for stride in dict.fromkeys(each.stride for each in found):
        level = {each.arm: each.runs for each in found if each.stride == stride}
        rows.append([str(stride), *(_said(level[arm]) for arm in arms)])
    return rows


def reuse_section(found: Sequence[Reuse]) -> list[str]:
    """Write the part of the page; none if nothing was compared."""
    if not found:
        return []
    return [write_section("What fine-tuning has kept", SAID, write_table(reuse_rows(found)))]


def _levels(encoder: Encoder, images: Sequence[Tensor], device: torch.device) -> list[NDArray[Any]]:
    """Describe each image by mean and spread of each level, one table a level."""
    encoder = encoder.to(device).eval()
    rows: list[list[Tensor]] = []
    with torch.inference_mode():
        for image in images:
            maps = [each.flatten(2) for each in encoder(torch.as_tensor(image)[None].to(device))]
            rows.append([torch.cat([m.mean(-1), m.std(-1, correction=0)], 1)[0] for m in maps])
    return [torch.stack(level).float().cpu().numpy() for level in zip(*rows, strict=True)]


def _said(runs: Sequence[float]) -> str:
    mean = sum(runs) / len(runs)
    return f"{mean:.3f}" + (f" [{min(runs):.3f}, {max(runs):.3f}]" if len(runs) > 1 else "")
