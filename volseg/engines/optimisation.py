"""How a network learns: optimizer, schedule, precision, clipping, averaging."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from volseg.engines.schedules import Group, Schedule, WarmupCosine
from volseg.engines.short_maps import autocast_on_cpu
from volseg.errors import DeviceError, VolsegError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

AUTO = "auto"
"""bf16 where the device has instructions for it, fp32 elsewhere."""


@dataclass(frozen=True)
class Optimisation:
    """How a network learns.

    Args:
        learning_rate: The peak rate.
        weight_decay: Decay of matrices and kernels; biases, norms and other vectors have none.
        schedule: The rate at every step, group by group.
        clip_norm: Largest norm of the gradient; `None` does not clip.
        precision: ``fp32``, ``bf16``, ``fp16`` (CUDA only) or ``auto`` (see `autocast`) for the
            network; losses are always computed in fp32.
        ema_decay: Decay of the running average of the weights, which is then what is validated and
            saved; `None` keeps no average.
        optimizer: Makes the optimizer from parameter groups, ``lr`` and ``weight_decay``.
        loss: For segmentation only: compares logits with a label, ``(B, 1, D, H, W)``; `None` means
            Dice and cross-entropy.
        is_compiled: Whether to train through ``torch.compile`` with channels last, which on a CPU
            needs a C++ compiler; the weights are the same but for rounding.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    schedule: Schedule = field(default_factory=WarmupCosine)
    clip_norm: float | None = 12.0
    precision: str = "fp32"
    ema_decay: float | None = None
    optimizer: Callable[..., Optimizer] = AdamW
    loss: nn.Module | None = None
    is_compiled: bool = False

    def __post_init__(self) -> None:
        """Refuse a precision that does not exist."""
        known = [*PRECISIONS, AUTO]
        if self.precision not in known:
            raise VolsegError(f"precision is {self.precision!r}; use one of {known}")

    def build(self, groups: list[Group]) -> Optimizer:
        """Make the optimizer, with two parameter groups a schedule group: decayed or not.

        Args:
            groups: The schedule's groups.

        Returns:
            The optimizer; each of its groups knows its schedule group by ``name``.
        """
        options: list[dict[str, Any]] = []
        for group in groups:
            decayed = [p for p in group.parameters if p.ndim > 1]
            plain = [p for p in group.parameters if p.ndim <= 1]
            for parameters, decay in ((decayed, self.weight_decay), (plain, 0.0)):
                if parameters:
                    options.append(
                        {"params": parameters, "weight_decay": decay, "name": group.name}
                    )
        return self.optimizer(options, lr=self.learning_rate, weight_decay=self.weight_decay)

    def describe(self) -> dict[str, Any]:
        """List what decides the result, so that a resumed run can be compared with it."""
        return {
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "schedule": repr(self.schedule),
            "clip_norm": self.clip_norm,
            "precision": self.precision,
            "ema_decay": self.ema_decay,
            "optimizer": _name(self.optimizer),
            "loss": repr(self.loss),
        }


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Open the context in which a network runs at a precision.

    Args:
        device: Where it runs.
        precision: ``fp32``, ``bf16``, ``fp16`` or ``auto``: bf16 where the device has instructions
            for it, fp32 elsewhere. A CPU without AVX-512 imitates bf16, which is far slower.

    Returns:
        The context.

    Raises:
        DeviceError: If fp16 is asked for without CUDA, where gradients cannot be scaled.
    """
    if precision == "fp32" or (precision == AUTO and not has_bf16(device)):
        return nullcontext()
    if precision == "fp16" and device.type != "cuda":
        raise DeviceError(f"precision fp16 needs a CUDA device, not {device.type!r}; use bf16")
    dtype = PRECISIONS.get(precision, torch.bfloat16)
    return autocast_on_cpu(dtype) if device.type == "cpu" else torch.autocast(device.type, dtype)


def has_bf16(device: torch.device) -> bool:
    """Tell whether a device has instructions for bfloat16.

    Args:
        device: CUDA devices are asked; a CPU needs AVX-512, by which oneDNN goes.

    Returns:
        Whether it has; `False` for a device of another kind.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and "AVX512" in torch.backends.cpu.get_cpu_capability()


def _name(target: Any) -> str:
    inner = getattr(target, "func", target)
    options = getattr(target, "keywords", {})
    return f"{getattr(inner, '__name__', repr(inner))}({dict(sorted(options.items()))})"
