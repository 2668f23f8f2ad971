"""The MONAI trainer behind every builder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monai.engines import SupervisedTrainer
from torch import nn

from volseg.data.draws import Draws, draw_loader
from volseg.engines import distributed
from volseg.engines.checkpoint import hash_cases, hash_module
from volseg.engines.learner import Compute, Learner
from volseg.engines.loop import Batches, Loop
from volseg.engines.optimisation import Optimisation
from volseg.engines.run import Run, Save
from volseg.errors import VolsegError
from volseg.pretext.collapse import CollapseGuard


@dataclass(frozen=True)
class Training:
    """What one kind of training differs in from another.

    Args:
        module: What learns, on its device.
        compute: Computes the loss of a batch.
        draws: Where the samples come from.
        save: Writes the weights.
        evaluator: Validates the module.
        guard: Judges the monitors.
    """

    module: nn.Module
    compute: Compute
    draws: Draws
    save: Save
    evaluator: Any = None
    guard: CollapseGuard | None = None


def build_trainer(
    training: Training,
    max_epochs: int,
    optimisation: Optimisation,
    loop: Loop,
    train_handlers: Sequence[Any],
) -> SupervisedTrainer:
    """Build a MONAI trainer around a learner.

    Args:
        training: What learns, from what.
        max_epochs: Epochs in all.
        optimisation: How it learns.
        loop: Where, on what and from which seed it runs.
        train_handlers: More MONAI handlers; they are called before the run's own.

    Returns:
        The trainer.
    """
    total = max_epochs * loop.epoch_length
    learner = Learner(training.module, training.compute, optimisation, total, loop.seed)
    batches = Batches(
        lambda step, workers: draw_loader(
            training.draws,
            loop.batch_size,
            start_step=step,
            total_steps=total,
            num_workers=workers,
            rank=distributed.rank(),
            world=distributed.world_size(),
        ),
        loop.num_workers,
    )
    settings = _settings(training, max_epochs, optimisation, loop)
    watch = (training.evaluator, training.guard)
    run = Run(learner, batches, loop, settings, training.save, *watch)
    return SupervisedTrainer(
        device=learner.device,
        max_epochs=max_epochs,
        train_data_loader=batches,
        network=training.module,
        optimizer=learner.optimizer,
        loss_function=_refuse_loss,
        epoch_length=loop.epoch_length,
        iteration_update=run.step,
        train_handlers=[*train_handlers, run],
        decollate=False,
    )


def _settings(
    training: Training, max_epochs: int, optimisation: Optimisation, loop: Loop
) -> dict[str, Any]:
    """List what decides the result, for a resumed run to be compared with."""
    return {
        "seed": loop.seed,
        "batch_size": loop.batch_size,
        "epoch_length": loop.epoch_length,
        "max_epochs": max_epochs,
        "processes": distributed.world_size(),
        "network": hash_module(training.module),
        "cases": hash_cases(training.draws.dataset),
        **optimisation.describe(),
    }


def _refuse_loss(*_: Any) -> None:
    raise VolsegError("a trainer's loss_function is not used; give the loss to Optimisation")
