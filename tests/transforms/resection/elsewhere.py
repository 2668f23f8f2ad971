"""A device that is not the CPU, for machines that have none: its tensors refuse to meet the CPU's.

They hold their values in the main memory, and say that they are on another device. An operation
that is given tensors of both raises as it would on a GPU; scalars may meet either. What is asked
for on the device is made there, what is asked for without a device is the CPU's.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")  # it needs no start, and no tensor is on it otherwise

CROSSING = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class Distant(torch.Tensor):
    """A tensor of that device."""

    @staticmethod
    def __new__(cls, near):
        return torch.Tensor._make_wrapper_subclass(
            cls, near.shape, near.stride(), near.storage_offset(), dtype=near.dtype, device=DEVICE
        )

    def __init__(self, near):
        self.near = near

    __torch_function__ = torch._C._disabled_torch_function_impl

    def tolist(self):
        return self.near.tolist()

    @classmethod
    def __torch_dispatch__(cls, operation, _types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


class Elsewhere(TorchDispatchMode):
    """Within it, tensors can be made on that device."""

    def __torch_dispatch__(self, operation, _types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


def send(tensor):
    """Bring a tensor to that device."""
    return Distant(tensor.clone())


def _run(operation, args, kwargs):
    given = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, torch.Tensor)]
    distant = {id(each.near): each for each in given if isinstance(each, Distant)}
    strangers = [each for each in given if not isinstance(each, Distant) and each.ndim > 0]
    if distant and strangers and operation not in CROSSING:
        raise RuntimeError(f"{operation} is given tensors of two devices")
    asked = kwargs.get("device")
    is_distant = bool(distant) if asked is None else torch.device(asked).type == DEVICE.type
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if operation is torch.ops.aten.copy_.default:
        is_distant = isinstance(args[0], Distant)
    near_args, near_kwargs = tree_map(
        lambda each: each.near if isinstance(each, Distant) else each, (args, kwargs)
    )
    made = operation(*near_args, **near_kwargs)
    if not is_distant:
        return made
    return tree_map(
        lambda each: (
            distant[id(each)]
            if id(each) in distant
            else Distant(each)
            if isinstance(each, torch.Tensor)
            else each
        ),
        made,
    )
