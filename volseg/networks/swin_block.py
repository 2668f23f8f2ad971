"""A block of Swin: attention within windows and a perceptron."""

from torch import Tensor, nn

from volseg.errors import GeometryError
from volseg.networks.swin_attention import WindowAttention
from volseg.networks.swin_padded import PaddedWindowAttention


class SwinBlock(nn.Module):
    """Window attention and a perceptron, each after a LayerNorm and beside a shortcut.

    Args:
        width: Channels of a token.
        heads: Attention heads.
        window: Tokens of a window along each axis, at most.
        windows: How a grid is cut that the window does not divide: ``equal``, or as public code
            does, ``clamped`` or ``scattered``, see `volseg.networks.swin_padded`.
        is_shifted: Whether the windows are moved by half a window.

    Raises:
        GeometryError: If the way to cut is not known.
    """

    def __init__(
        self, width: int, heads: int, window: int, windows: str = "equal", *, is_shifted: bool
    ) -> None:
        super().__init__()
        if windows not in ("equal", "clamped", "scattered"):
            raise GeometryError(f"windows are {windows!r}; use 'equal', 'clamped' or 'scattered'")
        self.norm1 = nn.LayerNorm(width)
        self.attention = (
            WindowAttention(width, heads, window, is_shifted=is_shifted)
            if windows == "equal"
            else PaddedWindowAttention(
                width, heads, window, is_shifted=is_shifted, is_clamped=windows == "clamped"
            )
        )
        self.norm2 = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform grids of tokens, ``(B, D, H, W, C)``."""
        tokens = tokens + self.attention(self.norm1(tokens))
        transformed: Tensor = tokens + self.perceptron(self.norm2(tokens))
        return transformed
