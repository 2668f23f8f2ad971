"""Convolutions of maps shorter than their kernel, whose bfloat16 gradients go wrong on CPUs.

With PyTorch 2.13 on a CPU with AVX-512, the gradient of the weights of a 3D convolution in bfloat16
differs from call to call, and is often not finite, where the first axis of the map has fewer voxels
than the kernel, as 2 voxels under a kernel of 3. Forward passes are right, and so are the other
axes. Such maps are small: their convolutions are computed in single precision instead.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

CONVOLUTIONS = (torch.conv3d, torch.conv_transpose3d)


class FullShortMaps(TorchFunctionMode):
    """Computes convolutions of maps shorter than their kernel in single precision."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of PyTorch; this is how PyTorch asks."""
        if func not in CONVOLUTIONS or args[0].shape[2] >= args[1].shape[2]:
            return func(*args, **(kwargs or {}))
        with torch.autocast("cpu", enabled=False):
            return func(args[0].float(), *args[1:], **(kwargs or {}))


@contextmanager
def autocast_on_cpu(dtype: torch.dtype) -> Iterator[None]:
    """Open the context in which a network runs on a CPU at half precision.

    Args:
        dtype: Numbers of the convolutions and products.

    Yields:
        Nothing.
    """
    with torch.autocast("cpu", dtype), FullShortMaps():
        yield
