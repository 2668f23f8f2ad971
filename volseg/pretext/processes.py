"""Sums over the processes of a distributed training, for what is not learned by gradient."""

import torch
from torch import Tensor
from torch import distributed as process_group


def gather_rows(rows: Tensor) -> Tensor:
    """Join the rows of all processes, in the order of their ranks.

    Args:
        rows: Equal shapes everywhere, ``(N, C)``.

    Returns:
        Rows of all, without gradient, ``(processes * N, C)``.
    """
    rows = rows.detach().contiguous()
    if not (process_group.is_available() and process_group.is_initialized()):
        return rows
    everybody = [torch.empty_like(rows) for _ in range(process_group.get_world_size())]
    process_group.all_gather(everybody, rows)
    return torch.cat(everybody)
