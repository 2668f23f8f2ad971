"""How long and on what the demo trains."""

from dataclasses import dataclass

from volseg.types import Size, Spacing


@dataclass(frozen=True)
class DemoSettings:
    """How long and on what the demo trains; the defaults take minutes on two cores.

    Args:
        spacing: Voxel edge that the networks see along each axis, in mm.
        patch_size: Voxels of a crop along each axis.
        block: Voxels along the edge of a hidden block.
        pretraining_epochs: Epochs without labels.
        finetuning_epochs: Epochs with labels, in each arm.
        epoch_length: Steps of an epoch.
        batch_size: Crops of a step.
        device: Where to compute.
        seed: The source of every draw.
        progress: Whether to draw progress bars on stderr.
    """

    spacing: Spacing = (2.0, 2.0, 2.0)
    patch_size: Size = (40, 40, 40)
    block: int = 8
    pretraining_epochs: int = 15
    finetuning_epochs: int = 10
    epoch_length: int = 10
    batch_size: int = 2
    device: str = "auto"
    seed: int = 0
    progress: bool = True
