"""One optimizer step after another: the part of training that is the same for every task."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from volseg.engines import distributed
from volseg.engines.ema import WeightAverage
from volseg.engines.optimisation import Optimisation, autocast
from volseg.engines.schedules import lr_factor
from volseg.errors import VolsegError
from volseg.pretext.task import PretextResult

Compute = Callable[..., PretextResult]
"""Computes the result of a batch from the module (perhaps wrapped), the batch and ``panels``."""


class Learner:
    """A module, its optimizer and the number of steps done.

    All randomness inside the module is seeded anew at every step from the seed, the step and the
    rank, so that no generator's state has to outlive a kill.

    Args:
        module: The network or pretext task, on its device.
        compute: Computes the loss of a batch.
        optimisation: How it learns.
        total: Steps in all.
        seed: The source of randomness.
    """

    def __init__(
        self, module: nn.Module, compute: Compute, optimisation: Optimisation, total: int, seed: int
    ) -> None:
        self.module = module
        self.compute = compute
        self.optimisation = optimisation
        self.total = total
        self.seed = seed
        self.step = 0
        self.device = next(module.parameters()).device
        autocast(self.device, optimisation.precision)  # refuses at once what cannot be
        self.groups = optimisation.schedule.groups(module)
        self.frozen = {id(p) for p in module.parameters() if not p.requires_grad}
        self.frozen_groups: set[str] | None = None
        self.resting: list[nn.Module] = []
        self.optimizer = optimisation.build(self.groups)
        self.scaler = torch.amp.GradScaler("cuda", enabled=optimisation.precision == "fp16")
        self.average: WeightAverage | None = None
        self.parallel = self._wrap()

    def begin(self) -> None:
        """Start the average from the weights as they are now."""
        if self.optimisation.ema_decay is not None:
            self.average = WeightAverage(self.module, self.optimisation.ema_decay)

    def join(self) -> None:
        """Average gradients with the other processes from now on, if there are any."""
        if distributed.is_joined():
            places = [self.device] if self.device.type == "cuda" else None
            # A frozen stage, or a level that the loss does not read, leaves parameters unused.
            self.parallel = DistributedDataParallel(
                self._wrap(), device_ids=places, find_unused_parameters=True
            )

    def part(self) -> None:
        """Let go of the other processes.

        A wrapper that outlives the process group may hang: its destructor holds the interpreter's
        lock while it waits for threads that want it.
        """
        self.parallel = self._wrap()

    def learn(self, batch: Mapping[str, Any], *, panels: bool = False) -> PretextResult:
        """Do one step.

        Args:
            batch: The step's batch.
            panels: Whether to ask for pictures.

        Returns:
            What the step gave, with the norm of the gradient among the monitors.

        Raises:
            VolsegError: If the loss is not a finite number.
        """
        self._prepare()
        result = self._compute(batch, panels=panels)
        if not torch.isfinite(result.loss):
            raise VolsegError(
                f"the loss is {result.loss.item()} at step {self.step + 1}; lower the learning"
                " rate, use precision bf16 or fp32, or look for broken intensities with"
                " volseg inspect"
            )
        norm = self._descend(result.loss)
        self.step += 1
        if self.average is not None:
            self.average.update(self.step)
        after_step = getattr(self.module, "after_step", None)
        if after_step is not None:
            after_step(self.step, self.total)
        monitors = {**result.monitors, "gradient_norm": norm}
        return PretextResult(result.loss.detach(), result.parts, monitors, result.panels)

    def rehearse(self, batch: Mapping[str, Any]) -> None:
        """Do a step without learning from it, to see what it takes.

        Args:
            batch: A batch.
        """
        before = [(buffer, buffer.clone()) for buffer in self.module.buffers()]
        self._prepare()
        torch.autograd.backward(self._compute(batch, panels=False).loss)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.optimizer.zero_grad(set_to_none=True)
        for buffer, value in before:
            buffer.copy_(value)
        # processes must agree on what learns when they join, and the others did not rehearse
        self._freeze(set())
        self.frozen_groups = None

    def rates(self, step: int) -> dict[str, float]:
        """Give the learning rate of each group.

        Args:
            step: Steps done.

        Returns:
            Rates by the group's name; 0 where it is frozen.
        """
        peak = self.optimisation.learning_rate
        return {g.name: peak * lr_factor(g.stages, step, self.total) for g in self.groups}

    def averaged(self) -> AbstractContextManager[None]:
        """Open a context in which the module has the weights to validate and save."""
        return nullcontext() if self.average is None else self.average.applied()

    def state_dict(self) -> dict[str, Any]:
        """Give all that the next step depends on."""
        return {
            "step": self.step,
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": {} if self.average is None else self.average.values,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Args:
            state: What `state_dict` gave.
        """
        self.step = state["step"]
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.begin()
        if self.average is not None:
            self.average.load(state["average"])

    def _wrap(self) -> nn.Module:
        if not self.optimisation.is_compiled:
            return self.module
        for parameter in self.module.parameters():
            if parameter.ndim == 5:
                parameter.data = parameter.data.to(memory_format=torch.channels_last_3d)
        return cast(nn.Module, torch.compile(self.module))

    def _prepare(self) -> None:
        key = (self.seed, self.step, distributed.rank())
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        rates = self.rates(self.step)
        for options in self.optimizer.param_groups:
            options["lr"] = rates[options["name"]]
        self._freeze({name for name, rate in rates.items() if rate == 0})
        self.module.train()
        for part in self.resting:
            part.eval()
        self.optimizer.zero_grad(set_to_none=True)

    def _freeze(self, names: set[str]) -> None:
        if names == self.frozen_groups:
            return
        self.frozen_groups = names
        for group in self.groups:
            for parameter in group.parameters:
                is_learning = group.name not in names and id(parameter) not in self.frozen
                parameter.requires_grad_(is_learning)
        self.resting = [part for part in self.module.modules() if _is_frozen(part)]

    def _compute(self, batch: Mapping[str, Any], *, panels: bool) -> PretextResult:
        inputs = {key: self._place(value) for key, value in batch.items()}
        with autocast(self.device, self.optimisation.precision):
            result: PretextResult = self.compute(self.parallel, inputs, panels=panels)
        return result

    def _place(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value.as_subclass(Tensor).to(self.device, non_blocking=True)

    def _descend(self, loss: Tensor) -> Tensor:
        torch.autograd.backward(self.scaler.scale(loss))
        self.scaler.unscale_(self.optimizer)
        limit = self.optimisation.clip_norm
        norm = clip_grad_norm_(self._learning(), float("inf") if limit is None else limit)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return norm.detach()

    def _learning(self) -> Iterator[nn.Parameter]:
        return (p for group in self.groups for p in group.parameters if p.requires_grad)


def _is_frozen(part: nn.Module) -> bool:
    """Tell whether a part has parameters, none of which learns: its dropout rests too."""
    learning = [parameter.requires_grad for parameter in part.parameters()]
    return bool(learning) and not any(learning)
