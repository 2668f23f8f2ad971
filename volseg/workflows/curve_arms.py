"""The arms of a label-efficiency curve: from scratch, from an encoder, and their controls.

What pretraining is worth is a difference to something. From scratch with the same steps says what
an encoder saves at equal cost of fine-tuning; from scratch with the steps of both stages says what
the same time would have bought without it; and another encoder, such as an autoencoder's, what
comes of pretraining as such.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from volseg.bundle import Bundle
from volseg.errors import BundleError, DataError
from volseg.networks.opening import read_card
from volseg.overrides import find_key, flatten

SCRATCH, LONGER, PRETRAINED = "scratch", "longer", "pretrained"

EPOCHS, LENGTH = "max_epochs", "epoch_length"


@dataclass(frozen=True)
class Arm:
    """A way to begin.

    Args:
        name: Its name.
        encoder: Weights that it starts from; `None`: from scratch.
        overrides: Values of the bundle's ``train.json`` that it alone changes, by key.
    """

    name: str
    encoder: str | Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Curve:
    """Which runs there are.

    Args:
        counts: Numbers of labelled cases; 0 means all.
        seeds: How many seeds.
        encoder: Weights of a pretrained encoder; `None`: only from scratch.
        schedule: As for `volseg.workflows.finetune.finetune`; the same for all arms.
        overrides: Values of the bundle's ``train.json`` to change, by key.
        split: As for `volseg.workflows.finetune.finetune`.
        controls: Other encoders, by the name of their arm.
        is_longer: Whether to train from scratch with the steps of both stages, too.
    """

    counts: Sequence[int]
    seeds: int = 4
    encoder: str | Path | None = None
    schedule: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    split: str | Path | None = None
    controls: Mapping[str, str | Path] = field(default_factory=dict)
    is_longer: bool = False

    def arms(self, bundle: Bundle) -> list[Arm]:
        """List the arms, scratch first and the encoder last.

        Args:
            bundle: Whose schedule the longer arm lengthens.

        Returns:
            The arms.

        Raises:
            DataError: If there are controls of no encoder, a name cannot be an arm's, a file is
                not there, or the encoder's card does not say how many steps it was trained.
        """
        if self.encoder is None and (self.controls or self.is_longer):
            raise DataError("controls are compared with an encoder; give one with --encoder")
        arms = [Arm(SCRATCH)]
        for name, path in self.controls.items():
            if name in (SCRATCH, LONGER, PRETRAINED) or not re.fullmatch(r"[\w.-]+", name):
                raise DataError(
                    f"{name!r} cannot name a control; use letters, digits and -, and not"
                    f" {SCRATCH}, {LONGER} or {PRETRAINED}"
                )
            arms.append(Arm(name, path))
        if self.encoder is not None:
            arms.append(Arm(PRETRAINED, self.encoder))
        for arm in arms:
            if arm.encoder is not None and not Path(arm.encoder).is_file():
                raise DataError(f"{arm.encoder} is no file; give the weights of the arm {arm.name}")
        if self.is_longer and self.encoder is not None:
            longer = Arm(LONGER, None, _both_stages(bundle, self.overrides, self.encoder))
            arms.insert(1, longer)
        return arms


def _both_stages(
    bundle: Bundle, overrides: Mapping[str, Any], encoder: str | Path
) -> dict[str, Any]:
    """Lengthen a schedule by the steps of a pretraining, whole epochs up."""
    steps = read_card(encoder).steps
    if steps < 1:
        raise DataError(f"the card of {encoder} does not say how many steps it was trained")
    config = bundle.raw_config("train", overrides)
    try:
        values = dict(flatten(config))
        epochs, length = (int(values[find_key(config, key)]) for key in (EPOCHS, LENGTH))
    except (BundleError, TypeError, ValueError) as error:
        raise DataError(
            f"bundle {bundle.name} does not state its steps as {EPOCHS} and {LENGTH}: {error}"
        ) from error
    return {EPOCHS: epochs + ceil(steps / length)}
