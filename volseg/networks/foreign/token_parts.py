"""What the layouts of plain transformers have in common: heads and grids that no shape tells."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from torch import Tensor

from volseg.errors import WeightsError
from volseg.networks.foreign.layout import Facts, cube_root
from volseg.types import Size


@dataclass(frozen=True)
class Tokens:
    """What is known of a transformer's tokens.

    Args:
        heads: Attention heads; 1 as long as nobody said.
        grid: Tokens along each axis.
        notes: What was taken for granted.
        unsaid: Facts that the user must state first, and what they may be.
    """

    heads: int
    grid: Size
    notes: tuple[str, ...]
    unsaid: Mapping[str, str]

    def lay_out(self, table: Tensor) -> Tensor:
        """Lay a table of positions ``(1, tokens, C)`` out on the grid, ``(1, C, d, h, w)``."""
        return table[0].t().reshape(1, table.shape[2], *self.grid).contiguous()


def settle_tokens(
    facts: Facts, width: int, count: int, patch: int, usual: Mapping[int, int]
) -> Tokens:
    """Find heads and grid from the facts, or say which are missing.

    Args:
        facts: What the user states.
        width: Channels of a token.
        count: Positions in the table.
        patch: Voxels of a patch along each axis.
        usual: Heads of published networks by their width.

    Returns:
        What is known.
    """
    notes, unsaid = [], {}
    heads = facts.heads or usual.get(width)
    if heads is None:
        unsaid["heads"] = f"a number that divides the width {width}"
    elif facts.heads is None:
        notes.append(f"heads are not stored: taken to be the usual {heads} for the width {width}")
    grid = find_grid(count, patch, facts.size)
    if grid is None:
        unsaid["size"] = f"voxels along each axis, {count} patches of {patch}"
        grid = (count, 1, 1)
    return Tokens(heads or 1, grid, tuple(notes), unsaid)


def find_grid(count: int, patch: int, size: Size | None) -> Size | None:
    """Find the grid of tokens that a table of positions was learned on.

    Args:
        count: Positions in the table.
        patch: Voxels of a patch along each axis.
        size: Voxels along each axis, if the user says; `None`: a cube is looked for.

    Returns:
        Tokens along each axis; `None` if they are no cube.

    Raises:
        WeightsError: If a size has another number of patches.

    Examples:
        >>> find_grid(216, 16, None), find_grid(24, 8, (16, 24, 32))
        ((6, 6, 6), (2, 3, 4))
    """
    if size is None:
        side = cube_root(count)
        return None if side is None else (side, side, side)
    depth, height, width = (length // patch for length in size)
    if prod((depth, height, width)) != count:
        raise WeightsError(f"size {tuple(size)} has not the {count} patches of {patch} in the file")
    return (depth, height, width)
