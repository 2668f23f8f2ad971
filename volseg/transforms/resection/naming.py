"""Tell the contrast of a channel from its name, or from values that only CT has."""

import re

import torch
from torch import Tensor

TOKENS = {
    "FLAIR": {"flair", "t2flair", "dark"},
    "T1c": {"t1c", "t1ce", "t1gd", "t1cd", "t1post", "t1wce", "gd", "gad", "gado", "gadolinium"}
    | {"gadovist", "dotarem", "magnevist", "postcontrast", "ce"},
    "T2": {"t2", "t2w"},
    "PD": {"pd", "pdw"},
    "CT": {"ct", "ncct"},
    "T1": {"t1", "t1w", "mprage", "spgr", "bravo"},
}
"""Words of a name that give a contrast away, the most telling contrast first."""

WITHOUT = {"pre", "non", "no", "without"}
"""Words that say that a contrast agent was not given."""

AIR_HU = (-1100.0, -900.0)
"""A volume whose first percentile lies here is in Hounsfield units; what lies below is padding."""


def guess_contrast(name: str, channel: Tensor | None = None) -> str:
    """Guess a contrast.

    Args:
        name: Key of a channel or name of a file.
        channel: Its intensities; with a name that says nothing they can tell CT.

    Returns:
        One of `CONTRASTS`; ``unknown`` where nothing tells.

    Examples:
        >>> guess_contrast("t1"), guess_contrast("sub-01_T1w_gd"), guess_contrast("image")
        ('T1', 'T1c', 'unknown')
    """
    words = {word for word in re.split(r"[^a-z0-9]+", name.lower()) if word}
    if "contrast" in words and words & TOKENS["T1"] and not words & WITHOUT:
        return "T1c"
    for contrast, telling in TOKENS.items():
        if words & telling:
            return contrast
    return "CT" if channel is not None and _is_hounsfield(channel) else "unknown"


def _is_hounsfield(channel: Tensor) -> bool:
    values = channel.reshape(-1)
    some = values[:: max(1, values.numel() // 20_000)].float()
    some = some[some >= AIR_HU[0]]
    return len(some) > 0 and float(torch.quantile(some, 0.01)) <= AIR_HU[1]
