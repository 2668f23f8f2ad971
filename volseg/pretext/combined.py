"""Several tasks at once, for one encoder.

The loss is a weighted sum. Where two tasks look at the same crop, as tasks with a computed target
do (`PseudoMaskSegmentation`, `ComponentTreeRegression` and `Autoencoder` of equal augmentation),
the crop is made once and goes through the encoder once.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from monai.transforms import Randomizable
from numpy.random import RandomState
from torch import Tensor, nn

from volseg.errors import GeometryError
from volseg.networks.encoder import Encoder
from volseg.pretext.targets import TargetCrop
from volseg.pretext.task import PretextResult, PretextTask, View
from volseg.transforms.masking import BlockMask
from volseg.types import Size

JOINT, DOT = "+", "."
"""A key of a batch is ``first+second.image``: the image of the tasks ``first`` and ``second``."""


class Combined(PretextTask):
    """Minimise a weighted sum of the losses of several tasks.

    Args:
        encoder: The network to train.
        tasks: The tasks by name, all of this encoder.
        weights: Weight of each task by name; 1 where none is given.

    Raises:
        GeometryError: If there is no task, one has another encoder, or a name or weight makes no
            sense.
    """

    def __init__(
        self,
        encoder: Encoder,
        tasks: Mapping[str, PretextTask],
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(encoder)
        weights = dict(weights or {})
        strange = [name for name in tasks if not name.isidentifier()]
        if (
            not tasks
            or strange
            or set(weights) - set(tasks)
            or min(weights.values(), default=1) < 0
        ):
            raise GeometryError(
                f"tasks {list(tasks)} with weights {weights} are no sum; use one task or more,"
                " letters and underscores in their names, and weights of 0 or more for these names"
            )
        foreign = [name for name, task in tasks.items() if task.encoder is not encoder]
        if foreign:
            raise GeometryError(
                f"tasks {foreign} have an encoder of their own; give '@encoder' to each task and to"
                " the combination"
            )
        self.tasks = nn.ModuleDict(tasks)
        self.weights = {name: float(weights.get(name, 1)) for name in tasks}

    def views(self, patch_size: Size) -> "JointView":
        """Make the transform that makes the views of all tasks.

        Args:
            patch_size: Voxels of a crop along each axis; each task may refuse it.

        Returns:
            A transform of ``{"image": (C, X, Y, Z)}`` to the tensors of each task, under its name.
        """
        return JointView({name: task.views(patch_size) for name, task in self._named()})

    def forward(self, batch: Mapping[str, Tensor], *, panels: bool = False) -> PretextResult:
        """Compute the weighted sum.

        Args:
            batch: What `views` gives.
            panels: Whether to return the pictures of the first task.

        Returns:
            The sum; parts and monitors of each task, and its loss, under ``name.``.
        """
        own: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for key, value in batch.items():
            names, _, field = key.partition(DOT)
            for name in names.split(JOINT):
                own[name][field] = value
        losses: list[Tensor] = []
        parts: dict[str, Tensor] = {}
        monitors: dict[str, Tensor] = {}
        pictures: dict[str, Tensor] = {}
        with shared_passes(self.encoder):
            for name, task in self._named():
                result = task(own[name], panels=panels and not pictures)
                losses.append(self.weights[name] * result.loss)
                parts[f"{name}{DOT}loss"] = result.loss.detach()
                parts |= {f"{name}{DOT}{key}": value for key, value in result.parts.items()}
                monitors |= {f"{name}{DOT}{key}": value for key, value in result.monitors.items()}
                pictures = pictures or dict(result.panels)
        return PretextResult(torch.stack(losses).sum(), parts, monitors, pictures)

    def after_step(self, step: int, total: int) -> None:
        """Let each task do what it does after a step.

        Args:
            step: Steps done.
            total: Steps in all.
        """
        for _, task in self._named():
            task.after_step(step, total)

    def trained(self) -> dict[str, nn.Module]:
        """Name what the tasks keep; of two decoders, or partners, that of the first task."""
        kept: dict[str, nn.Module] = {}
        for _, task in self._named():
            kept = task.trained() | kept
        return kept

    def _named(self) -> Iterator[tuple[str, PretextTask]]:
        return ((name, cast(PretextTask, task)) for name, task in self.tasks.items())


class JointView(Randomizable):
    """Make the views of several tasks from one case, those that agree once.

    Args:
        views: The view of each task, by its name.
    """

    def __init__(self, views: Mapping[str, View]) -> None:
        self.groups: dict[str, View] = {}
        crops: dict[Any, list[tuple[str, TargetCrop]]] = defaultdict(list)
        for name, view in views.items():
            if type(view) is TargetCrop:  # its kin spoil or mix the crop afterwards
                crops[view.signature()].append((name, view))
            else:
                self.groups[name] = view
        for members in crops.values():
            self.groups[JOINT.join(name for name, _ in members)] = _join(dict(members))

    def set_random_state(
        self, seed: int | None = None, state: RandomState | None = None
    ) -> "JointView":
        """Seed the draws of every view alike.

        Args:
            seed: The seed.
            state: A generator, instead.

        Returns:
            The view.
        """
        for view in self.groups.values():
            cast(Randomizable, view).set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Make the views of one case.

        Args:
            data: The case: ``image``, ``(C, X, Y, Z)``; other keys are left out.

        Returns:
            Tensors under ``task.key``; ``task+other.key`` where tasks share them.
        """
        batch = {}
        for names, view in self.groups.items():
            for key, value in view(data).items():
                batch[key if DOT in key else f"{names}{DOT}{key}"] = value
        return batch


def _join(views: Mapping[str, TargetCrop]) -> TargetCrop:
    """Make one crop with the maps of all, each under its task's name."""
    first = next(iter(views.values())).views
    targets = {
        f"{name}{DOT}{key}": target
        for name, view in views.items()
        for key, target in view.targets.items()
    }
    flips, is_augmented = first.flip_axes, first.is_augmented
    return TargetCrop(first.patch_size, targets, flips, is_augmented=is_augmented)


@contextmanager
def shared_passes(encoder: Encoder) -> Iterator[None]:
    """Let an encoder compute each volume once, however often it is asked.

    Args:
        encoder: The encoder; asked for the same tensor, under the same mask, it gives the maps that
            it gave before, until the context ends.

    Yields:
        Nothing.
    """
    known: dict[Any, tuple[Any, list[Tensor]]] = {}
    compute = encoder.forward

    def recall(x: Tensor, mask: BlockMask | None = None) -> list[Tensor]:
        hidden = None if mask is None else (id(mask.grid), mask.block)
        key = (id(x), hidden, torch.is_grad_enabled(), encoder.training)
        if key not in known:
            # what was asked for is kept, or another tensor might get its number
            known[key] = ((x, mask), compute(x, mask))
        return list(known[key][1])

    encoder.forward = recall  # type: ignore[method-assign]
    try:
        yield
    finally:
        del encoder.__dict__["forward"]
